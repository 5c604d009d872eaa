// What a transformer does to its rows between two products, in one pass each: layer norm and rounding to codes, a gate
// and rounding to codes, and rotary positions and rounding to bfloat16. Every row is computed by itself, so that threads
// change no bit.
#include <cstdint>
#include <initializer_list>

#include "vectors.h"

namespace {

constexpr long ALONE = 1 << 15;  // numbers below which one thread computes

// Erf by formula 7.1.26 of Abramowitz and Stegun, within 2e-5 with this exp2.
inline __m512 gelu(__m512 x) {
    const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678f));
    const __m512 below = _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), _mm512_set1_ps(1.0f));
    const __m512 t = _mm512_div_ps(_mm512_set1_ps(1.0f), below);
    __m512 sum = _mm512_set1_ps(1.061405429f);
    for (float term : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
        sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(term));
    const __m512 power = exp2(_mm512_mul_ps(_mm512_mul_ps(z, z), _mm512_set1_ps(-1.44269504f)));
    const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(sum, t), power);  // 1 - erf(|x| / sqrt 2)
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    const __m512 upper = _mm512_fnmadd_ps(tail, _mm512_set1_ps(0.5f), _mm512_set1_ps(1.0f));
    const __m512 part = _mm512_mask_mul_ps(upper, negative, tail, _mm512_set1_ps(0.5f));
    return _mm512_mul_ps(x, part);
}

}  // namespace

extern "C" {

// (rows, width) to codes of its layer norm.
void layer_norm_codes(const float* x, const float* weight, const float* bias, uint8_t* out, long rows, int width,
                      float epsilon, float inverse_scale, int zero_point, int lowest, int highest, int threads) {
    const Codes codes(inverse_scale, zero_point, lowest, highest);
#pragma omp parallel for schedule(static) num_threads(rows * width < ALONE ? 1 : threads)
    for (long row = 0; row < rows; ++row) {
        const float* from = x + row * width;
        uint8_t* to = out + row * width;
        __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
        for (int at = 0; at < width; at += LANES)
            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(there(width - at), from + at));
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
        for (int at = 0; at < width; at += LANES) {
            const __mmask16 mask = there(width - at);
            const __m512 apart = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, from + at), mean);
            squares = _mm512_fmadd_ps(apart, apart, squares);
        }
        const __m512 scale = _mm512_set1_ps(1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / width + epsilon));
        for (int at = 0; at < width; at += LANES) {
            const __mmask16 mask = there(width - at);
            const __m512 apart = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, from + at), mean);
            const __m512 found = _mm512_fmadd_ps(_mm512_mul_ps(apart, scale), _mm512_maskz_loadu_ps(mask, weight + at),
                                                 _mm512_maskz_loadu_ps(mask, bias + at));
            codes.store(to + at, mask, found);
        }
    }
}

// (rows, hidden then gate, each of `width`) to codes of hidden * activation(gate): GELU, or SiLU.
void gated_codes(const float* x, uint8_t* out, long rows, int width, int is_gelu, float inverse_scale, int zero_point,
                 int lowest, int highest, int threads) {
    const Codes codes(inverse_scale, zero_point, lowest, highest);
#pragma omp parallel for schedule(static) num_threads(rows * width < ALONE ? 1 : threads)
    for (long row = 0; row < rows; ++row) {
        const float* hidden = x + row * 2 * width;
        const float* gate = hidden + width;
        uint8_t* to = out + row * width;
        for (int at = 0; at < width; at += LANES) {
            const __mmask16 mask = there(width - at);
            const __m512 opening = _mm512_maskz_loadu_ps(mask, gate + at);
            const __m512 open = is_gelu ? gelu(opening) : silu(opening);
            codes.store(to + at, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, hidden + at), open));
        }
    }
}

// (rows, `parts` heads of `size`) to bfloat16; the first `turned` features of the first `heads` heads of each row are
// rotated by the angles of its position: x * cosine + (-second half, first half) * sine. `turned` is even.
void rotated(const float* x, const float* cosine, const float* sine, uint16_t* out, long rows, int positions, int parts,
             int heads, int size, int turned, int threads) {
    const int half = turned / 2, width = parts * size;
#pragma omp parallel for schedule(static) num_threads(rows * width < ALONE ? 1 : threads)
    for (long row = 0; row < rows; ++row) {
        const float* from = x + row * width;
        uint16_t* to = out + row * width;
        for (int at = 0; at < width; at += LANES) {
            const __mmask16 mask = there(width - at);
            const __m256bh found = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + at));
            _mm256_mask_storeu_epi16(to + at, mask, (__m256i)found);
        }
        const float* cos = cosine + row % positions * turned;
        const float* sin = sine + row % positions * turned;
        for (int head = 0; head < heads; ++head, from += size, to += size)
            for (int at = 0; at < half; at += LANES) {
                const __mmask16 mask = there(half - at);
                const __m512 first = _mm512_maskz_loadu_ps(mask, from + at);
                const __m512 second = _mm512_maskz_loadu_ps(mask, from + half + at);
                const __m512 one = _mm512_fnmadd_ps(second, _mm512_maskz_loadu_ps(mask, sin + at),
                                                    _mm512_mul_ps(first, _mm512_maskz_loadu_ps(mask, cos + at)));
                const __m512 other =
                    _mm512_fmadd_ps(first, _mm512_maskz_loadu_ps(mask, sin + half + at),
                                    _mm512_mul_ps(second, _mm512_maskz_loadu_ps(mask, cos + half + at)));
                _mm256_mask_storeu_epi16(to + at, mask, (__m256i)_mm512_cvtneps_pbh(one));
                _mm256_mask_storeu_epi16(to + half + at, mask, (__m256i)_mm512_cvtneps_pbh(other));
            }
    }
}
}
