// What the kernels share: vectors of 16 float32, and how a result becomes codes.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

constexpr int LANES = 16;

// The lanes of a vector that there is something for, with `left` numbers to go.
inline __mmask16 there(int left) { return left >= LANES ? 0xffff : (1u << left) - 1; }

// 2^x within 5e-5 of it: below the rounding of a bfloat16 or of a code.
inline __m512 exp2(__m512 x) {
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 rest = _mm512_sub_ps(x, whole);
    __m512 power = _mm512_set1_ps(9.6181291e-3f);
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(5.5504109e-2f));
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(2.4022651e-1f));
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(6.9314718e-1f));
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(power, whole);
}

inline __m512 silu(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-80.0f));  // beyond, the result is zero
    const __m512 below = _mm512_add_ps(exp2(_mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f))), _mm512_set1_ps(1.0f));
    __m512 inverse = _mm512_rcp14_ps(below);
    inverse = _mm512_mul_ps(inverse, _mm512_fnmadd_ps(below, inverse, _mm512_set1_ps(2.0f)));
    return _mm512_mul_ps(x, inverse);
}

// Rounds results, half to even, to the codes of the layer that follows.
struct Codes {
    __m512 inverse_scale, least, most;
    __m512i zero_point;

    Codes(float inverse, int zero, int lowest, int highest)
        : inverse_scale(_mm512_set1_ps(inverse)),
          least(_mm512_set1_ps(lowest - zero)),
          most(_mm512_set1_ps(highest - zero)),
          zero_point(_mm512_set1_epi32(zero)) {}

    inline void store(uint8_t* to, __mmask16 mask, __m512 found) const {
        found = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(found, inverse_scale), least), most);
        const __m512i code = _mm512_add_epi32(_mm512_cvtps_epi32(found), zero_point);
        _mm512_mask_cvtusepi32_storeu_epi8(to, mask, code);
    }
};

}  // namespace
