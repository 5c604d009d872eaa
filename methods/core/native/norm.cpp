// Group norm, SiLU or none, and rounding to codes in one pass over a picture in channels_last, with the border a convolution needs.
//
// A first pass finds mean and variance of each group, float32 within a run of pixels and float64 between runs, less the
// first pixel's values, so that a mean far from zero costs no digits. Runs are the same for any number of threads.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "vectors.h"

namespace {

constexpr int RUN = 64;         // pixels whose sums are float32
constexpr long ALONE = 1 << 15;  // numbers below which one thread computes

}  // namespace

extern "C" {

struct Norm {
    const float* picture;  // (batch, height, width, channels), contiguous
    const float* shift;    // (batch, channels) added to it before, or null
    const float *weight, *bias;  // (channels)
    uint8_t* out;          // (batch, height + 2 * above, width + 2 * beside, channels)
    int batch, height, width, channels, groups, above, beside;
    float epsilon, inverse_scale;
    int zero_point, lowest, highest, threads;
    int silu;              // whether it follows the norm
};

// The channels are a multiple of 16.
void norm_codes(const Norm* call) {
    const Norm& c = *call;
    const long pixels = (long)c.height * c.width;
    const int runs = (pixels + RUN - 1) / RUN, threads = c.batch * pixels * c.channels < ALONE ? 1 : c.threads;
    std::vector<float> sums((size_t)c.batch * runs * 2 * c.channels);
    std::vector<float> factors((size_t)c.batch * 2 * c.channels);
    const Codes codes(c.inverse_scale, c.zero_point, c.lowest, c.highest);
    const int wide = c.width + 2 * c.beside, high = c.height + 2 * c.above;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int share = 0; share < c.batch * runs; ++share) {
            const float* picture = c.picture + share / runs * pixels * c.channels;
            const long first = (long)(share % runs) * RUN, end = std::min(pixels, first + RUN);
            float* sum = sums.data() + (size_t)share * 2 * c.channels;
            for (int channel = 0; channel < c.channels; channel += LANES) {
                const __m512 pivot = _mm512_loadu_ps(picture + channel);
                __m512 once = _mm512_setzero_ps(), twice = _mm512_setzero_ps();
                for (long pixel = first; pixel < end; ++pixel) {
                    const __m512 x = _mm512_sub_ps(_mm512_loadu_ps(picture + pixel * c.channels + channel), pivot);
                    once = _mm512_add_ps(once, x);
                    twice = _mm512_fmadd_ps(x, x, twice);
                }
                _mm512_storeu_ps(sum + channel, once);
                _mm512_storeu_ps(sum + c.channels + channel, twice);
            }
        }
#pragma omp for schedule(static)
        for (int share = 0; share < c.batch * c.groups; ++share) {
            const int row = share / c.groups, size = c.channels / c.groups, first = share % c.groups * size;
            const float* shift = c.shift == nullptr ? nullptr : c.shift + (long)row * c.channels;
            std::vector<double> means(size);
            double mean = 0.0, variance = 0.0;
            for (int channel = first; channel < first + size; ++channel) {
                double once = 0.0, twice = 0.0;
                for (int run = 0; run < runs; ++run) {
                    const float* sum = sums.data() + ((size_t)row * runs + run) * 2 * c.channels;
                    once += sum[channel];
                    twice += sum[c.channels + channel];
                }
                const double own = c.picture[row * pixels * c.channels + channel] + (shift ? shift[channel] : 0.0f);
                means[channel - first] = own + once / pixels;
                mean += means[channel - first] / size;
                variance += (twice - once * once / pixels) / pixels / size;
            }
            for (double one : means) variance += (one - mean) * (one - mean) / size;
            const double scale = 1.0 / std::sqrt(variance + c.epsilon);
            float* factor = factors.data() + (size_t)row * 2 * c.channels;
            for (int channel = first; channel < first + size; ++channel) {
                factor[channel] = c.weight[channel] * scale;
                factor[c.channels + channel] =
                    c.bias[channel] + ((shift ? shift[channel] : 0.0f) - mean) * scale * c.weight[channel];
            }
        }
#pragma omp for schedule(static)
        for (int line = 0; line < c.batch * high; ++line) {
            const int row = line / high, y = line % high - c.above;
            uint8_t* out = c.out + (long)line * wide * c.channels;
            if (y < 0 || y >= c.height) {
                std::memset(out, c.zero_point, (long)wide * c.channels);
                continue;
            }
            std::memset(out, c.zero_point, (long)c.beside * c.channels);
            out += (long)c.beside * c.channels;
            const float* factor = factors.data() + (size_t)row * 2 * c.channels;
            const float* picture = c.picture + (row * pixels + (long)y * c.width) * c.channels;
            for (long at = 0; at < (long)c.width * c.channels; at += c.channels)
                for (int channel = 0; channel < c.channels; channel += LANES) {
                    const __m512 scaled = _mm512_fmadd_ps(_mm512_loadu_ps(picture + at + channel),
                                                          _mm512_loadu_ps(factor + channel),
                                                          _mm512_loadu_ps(factor + c.channels + channel));
                    codes.store(out + at + channel, 0xffff, c.silu ? silu(scaled) : scaled);
                }
            std::memset(out + (long)c.width * c.channels, c.zero_point, (long)c.beside * c.channels);
        }
    }
}
}
