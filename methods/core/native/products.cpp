// Products of bytes for small layers: unsigned codes of inputs, signed weights, 32-bit sums, by AVX512-VNNI.
//
// oneDNN's are as fast, but torch spends 20 to 25 microseconds around each, as long as a product of a small layer takes.
// A Linear is a convolution with one tap. A row is an output pixel: for each tap its inputs lie side by side, as they do
// in channels_last with the border around them already. ROWS rows and up to 4 vectors of outputs fill the registers.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace {

constexpr int ROWS = 6;
constexpr int VECTORS = 4;
constexpr long ALONE = 1 << 21;  // products below which one thread computes


}  // namespace

extern "C" {

struct Product {
    const uint8_t* codes;   // (batch, high, wide, inputs)
    const int8_t* weights;  // [block of 64 outputs][tap][inputs / 4][output][4]; the last block is narrower, by 16s
    const float *scale, *bias;      // (outputs in 16s): of the weights, and added after
    const int32_t* correction;      // (outputs in 16s): subtracted from a sum: the input's zero point times the weights
    void* out;              // (batch, out_high, out_wide, outputs): float32, or bfloat16
    const int64_t* taps;    // where each tap begins, from where the row does
    int batch, high, wide, inputs, out_high, out_wide, outputs, tap_count, stride_high, stride_wide;
    float input_scale;      // a sum is multiplied by this first, as oneDNN does
    int mode;               // 0: float32, 1: bfloat16, 2: added to the float32 that is there
    int threads;
};

}

namespace {

template <int WIDTH>
void block(const Product& c, const int8_t* weights, int first, const uint8_t* const* rows, const long* at, int count) {
    __m512i sums[ROWS][WIDTH];
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
        for (int part = 0; part < WIDTH; ++part) sums[row][part] = _mm512_setzero_si512();
    const int quads = c.inputs / 4;
    for (int tap = 0; tap < c.tap_count; ++tap) {
        const uint8_t* from[ROWS];
        for (int row = 0; row < ROWS; ++row) from[row] = rows[row] + c.taps[tap];
        for (int quad = 0; quad < quads; ++quad, weights += WIDTH * 64) {
            __m512i weight[WIDTH];
#pragma GCC unroll 4
            for (int part = 0; part < WIDTH; ++part) weight[part] = _mm512_loadu_si512(weights + part * 64);
#pragma GCC unroll 6
            for (int row = 0; row < ROWS; ++row) {
                int four;
                std::memcpy(&four, from[row] + 4 * quad, 4);
                const __m512i code = _mm512_set1_epi32(four);
#pragma GCC unroll 4
                for (int part = 0; part < WIDTH; ++part)
                    sums[row][part] = _mm512_dpbusd_epi32(sums[row][part], code, weight[part]);
            }
        }
    }
    for (int row = 0; row < count; ++row)
#pragma GCC unroll 4
        for (int part = 0; part < WIDTH; ++part) {
            const int output = first + part * LANES;
            const __mmask16 mask = there(c.outputs - output);
            const __m512i sum = _mm512_sub_epi32(sums[row][part], _mm512_loadu_si512(c.correction + output));
            __m512 found = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(c.input_scale));
            found = _mm512_mul_ps(found, _mm512_loadu_ps(c.scale + output));
            if (c.bias != nullptr) found = _mm512_add_ps(found, _mm512_loadu_ps(c.bias + output));
            if (c.mode == 1) {
                const __m256i half = (__m256i)_mm512_cvtneps_pbh(found);
                _mm256_mask_storeu_epi16((uint16_t*)c.out + at[row] + output, mask, half);
                continue;
            }
            float* to = (float*)c.out + at[row] + output;
            if (c.mode == 2) found = _mm512_add_ps(found, _mm512_maskz_loadu_ps(mask, to));
            _mm512_mask_storeu_ps(to, mask, found);
        }
}

using Block = void (*)(const Product&, const int8_t*, int, const uint8_t* const*, const long*, int);
constexpr Block BLOCKS[VECTORS] = {block<1>, block<2>, block<3>, block<4>};

}  // namespace

extern "C" void product(const Product* call) {
    const Product& c = *call;
    const long rows = (long)c.batch * c.out_high * c.out_wide, shares = (rows + ROWS - 1) / ROWS;
    const long each = (long)c.tap_count * c.inputs;  // weights of an output
    const bool alone = rows * each * c.outputs < ALONE;
#pragma omp parallel for schedule(static) num_threads(alone ? 1 : c.threads)
    for (long share = 0; share < shares; ++share) {
        const uint8_t* from[ROWS];
        long at[ROWS];
        const int count = std::min<long>(ROWS, rows - share * ROWS);
        for (int row = 0; row < ROWS; ++row) {
            const long which = share * ROWS + std::min(row, count - 1), line = which / c.out_wide;
            const long picture = line / c.out_high, y = line % c.out_high * c.stride_high;
            const long x = which % c.out_wide * c.stride_wide;
            from[row] = c.codes + ((picture * c.high + y) * c.wide + x) * c.inputs;
            at[row] = which * c.outputs;
        }
        for (int first = 0; first < c.outputs; first += VECTORS * LANES) {
            const int vectors = std::min(VECTORS, (c.outputs - first + LANES - 1) / LANES);
            BLOCKS[vectors - 1](c, c.weights + first * each, first, from, at, count);
        }
    }
}
