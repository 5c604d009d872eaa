// What the kernels share: vectors of 16 float32.
#pragma once

#include <immintrin.h>

namespace {

constexpr int LANES = 16;

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

}  // namespace
