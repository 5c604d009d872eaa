// Scaled dot product attention of bfloat16 queries, keys and values, on processors with AVX512-BF16.
//
// The scheme of FlashAttention (Dao et al., 2022): scores of a few queries with a block of keys stay in the first cache,
// softmax is computed online, block after block. Queries are taken ROWS at a time, keys TILE at a time, which fills the
// 32 registers: ROWS x 4 sums, 4 vectors of keys, a query. Heads are packed once per call as the instruction that
// multiplies pairs wants them, and work is handed to threads as they get done, so that one that is held up by another
// process holds up nobody.
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace {

constexpr int ROWS = 6;
constexpr int TILE = 4 * LANES;   // keys whose scores are in registers
constexpr int BLOCK = 8 * TILE;   // keys between two corrections of the softmax
constexpr int STRIPS = 8;         // strips of ROWS queries that a thread takes at once
constexpr int WIDEST = 5;         // vectors of values whose sums are in registers
constexpr float MASKED = -1e30f;  // a score that counts for nothing, and that differences of scores survive
constexpr float LOG2_E = 1.44269504088896341f;

using Half = uint16_t;  // the bits of a bfloat16

int rounded_up(int number, int multiple) { return (number + multiple - 1) / multiple * multiple; }

// Keys (keys, pairs of features) as [tile][pair][key], values (keys, features) as [pair of keys][feature][key].
void pack(const Half* keys, const Half* values, long row, int count, int size, uint32_t* packed_keys,
          uint32_t* packed_values) {
    const int pairs = size / 2, padded = rounded_up(count, TILE), wide = rounded_up(size, LANES);
    for (int tile = 0; tile < padded; tile += TILE)
        for (int key = 0; key < TILE; ++key) {
            uint32_t* to = packed_keys + (long)tile * pairs + key;
            const Half* from = keys + (long)(tile + key) * row;
            if (tile + key >= count)
                for (int pair = 0; pair < pairs; ++pair) to[pair * TILE] = 0;
            else
                for (int pair = 0; pair < pairs; ++pair) std::memcpy(to + pair * TILE, from + 2 * pair, 4);
        }
    for (int key = 0; key < padded; key += 2) {
        uint32_t* to = packed_values + (long)key / 2 * wide;
        const Half* first = values + (long)key * row;
        const Half* second = first + row;
        for (int feature = 0; feature < wide; ++feature) {
            const uint32_t low = key < count && feature < size ? first[feature] : 0;
            const uint32_t high = key + 1 < count && feature < size ? second[feature] : 0;
            to[feature] = low | high << 16;
        }
    }
}

// What a strip of queries holds between two blocks of keys.
struct Strip {
    alignas(64) float scores[ROWS][BLOCK];
    alignas(64) Half weights[ROWS][BLOCK];
    alignas(64) float sums[ROWS][256];
    float most[ROWS], total[ROWS];
};

// Scores of ROWS queries with `tiles` tiles of keys, times `scale`, plus a bias per key; returns the largest of each row.
void score(Strip& strip, const Half* const* queries, const uint32_t* keys, const float* bias, int tiles, int pairs,
           float scale, __m512* most) {
    const __m512 scales = _mm512_set1_ps(scale);
    for (int tile = 0; tile < tiles; ++tile, keys += (long)pairs * TILE) {
        __m512 sums[ROWS][4];
#pragma GCC unroll 6
        for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
            for (int part = 0; part < 4; ++part) sums[row][part] = _mm512_setzero_ps();
        for (int pair = 0; pair < pairs; ++pair) {
            __m512bh key[4];
#pragma GCC unroll 4
            for (int part = 0; part < 4; ++part)
                key[part] = (__m512bh)_mm512_loadu_si512(keys + pair * TILE + part * LANES);
#pragma GCC unroll 6
            for (int row = 0; row < ROWS; ++row) {
                int both;
                std::memcpy(&both, queries[row] + 2 * pair, 4);
                const __m512bh query = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 4
                for (int part = 0; part < 4; ++part)
                    sums[row][part] = _mm512_dpbf16_ps(sums[row][part], query, key[part]);
            }
        }
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) {
            const int at = tile * TILE + part * LANES;
            const __m512 biases = _mm512_loadu_ps(bias + at);
#pragma GCC unroll 6
            for (int row = 0; row < ROWS; ++row) {
                const __m512 found = _mm512_fmadd_ps(sums[row][part], scales, biases);
                _mm512_store_ps(strip.scores[row] + at, found);
                most[row] = _mm512_max_ps(most[row], found);
            }
        }
    }
}

// Softmax of the scores less what is common to a row; returns what the sums of earlier blocks are to be multiplied by.
void weigh(Strip& strip, int count, const __m512* most, float* correction) {
    for (int row = 0; row < ROWS; ++row) {
        const float now = std::max(strip.most[row], _mm512_reduce_max_ps(most[row]));
        const __m512 shift = _mm512_set1_ps(now);
        correction[row] = _mm512_cvtss_f32(exp2(_mm512_set1_ps(strip.most[row] - now)));
        __m512 total = _mm512_setzero_ps(), other = _mm512_setzero_ps();
        for (int key = 0; key < count; key += 2 * LANES) {
            const __m512 low = exp2(_mm512_sub_ps(_mm512_load_ps(strip.scores[row] + key), shift));
            const __m512 high = exp2(_mm512_sub_ps(_mm512_load_ps(strip.scores[row] + key + LANES), shift));
            total = _mm512_add_ps(total, low);
            other = _mm512_add_ps(other, high);
            _mm512_store_si512(strip.weights[row] + key, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        }
        strip.total[row] = strip.total[row] * correction[row] + _mm512_reduce_add_ps(_mm512_add_ps(total, other));
        strip.most[row] = now;
    }
}

// Add up values by their weights, WIDTH vectors of features from `first` on.
template <int WIDTH>
void add_up(Strip& strip, const uint32_t* values, int count, int wide, int first, const float* correction) {
    __m512 sums[ROWS][WIDTH];
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 5
        for (int part = 0; part < WIDTH; ++part)
            sums[row][part] = _mm512_mul_ps(_mm512_load_ps(strip.sums[row] + first + part * LANES),
                                            _mm512_set1_ps(correction[row]));
    for (int key = 0; key < count; key += 2, values += wide) {
        __m512bh value[WIDTH];
#pragma GCC unroll 5
        for (int part = 0; part < WIDTH; ++part)
            value[part] = (__m512bh)_mm512_loadu_si512(values + first + part * LANES);
#pragma GCC unroll 6
        for (int row = 0; row < ROWS; ++row) {
            int both;
            std::memcpy(&both, strip.weights[row] + key, 4);
            const __m512bh weight = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 5
            for (int part = 0; part < WIDTH; ++part)
                sums[row][part] = _mm512_dpbf16_ps(sums[row][part], weight, value[part]);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 5
        for (int part = 0; part < WIDTH; ++part)
            _mm512_store_ps(strip.sums[row] + first + part * LANES, sums[row][part]);
}

using AddUp = void (*)(Strip&, const uint32_t*, int, int, int, const float*);
constexpr AddUp ADD_UP[WIDEST] = {add_up<1>, add_up<2>, add_up<3>, add_up<4>, add_up<5>};

}  // namespace

extern "C" {

struct Attention {
    const Half *query, *key, *value;  // (batch, tokens, heads * size), of keys and values key_heads * size
    const float* bias;                // (batch, keys) added to scores, or null
    void* out;                        // (batch, queries, heads * size), contiguous
    uint32_t* scratch;                // `attention_scratch` numbers
    long query_row, query_batch;      // strides, in numbers; keys and values have the same ones
    long key_row, key_batch;
    int batch, heads, key_heads, queries, keys, size;  // a head of keys serves heads / key_heads of queries
    float scale;
    int codes;                        // whether `out` is uint8 codes of the result, else float32
    float inverse_scale;              // of the codes
    int zero_point, lowest, highest;
    int threads;
};

long attention_scratch(int batch, int heads, int keys, int size) {
    const long padded = rounded_up(keys, TILE);
    return (long)batch * heads * padded * (size + rounded_up(size, LANES)) / 2 + batch * padded;
}

void attention(const Attention* call) {
    const Attention& c = *call;
    const int padded = rounded_up(c.keys, TILE), wide = rounded_up(c.size, LANES), pairs = c.size / 2;
    const long key_numbers = (long)padded * pairs, value_numbers = (long)padded / 2 * wide;
    uint32_t* packed_keys = c.scratch;
    uint32_t* packed_values = packed_keys + c.batch * c.key_heads * key_numbers;
    float* bias = (float*)(packed_values + c.batch * c.key_heads * value_numbers);
    const Codes codes(c.inverse_scale, c.zero_point, c.lowest, c.highest);
    for (int row = 0; row < c.batch; ++row)
        for (int key = 0; key < padded; ++key) {
            const float own = c.bias == nullptr ? 0.0f : c.bias[(long)row * c.keys + std::min(key, c.keys - 1)] * LOG2_E;
            bias[row * padded + key] = key < c.keys ? std::max(own, MASKED) : MASKED;
        }
    const int heads = c.batch * c.heads, taken = ROWS * STRIPS, shares = (c.queries + taken - 1) / taken;
#pragma omp parallel num_threads(c.threads)
    {
#pragma omp for schedule(static)
        for (int head = 0; head < c.batch * c.key_heads; ++head) {
            const long at = head / c.key_heads * c.key_batch + (long)(head % c.key_heads) * c.size;
            pack(c.key + at, c.value + at, c.key_row, c.keys, c.size, packed_keys + head * key_numbers,
                 packed_values + head * value_numbers);
        }
        Strip strip;
#pragma omp for schedule(dynamic) nowait
        for (int share = 0; share < heads * shares; ++share) {
            const int head = share / shares, key_head = head / (c.heads / c.key_heads), end = std::min(c.queries, (share % shares + 1) * taken);
            const Half* query = c.query + head / c.heads * c.query_batch + (long)(head % c.heads) * c.size;
            for (int first = share % shares * taken; first < end; first += ROWS) {
                const Half* rows[ROWS];
                for (int row = 0; row < ROWS; ++row) {
                    rows[row] = query + std::min(first + row, end - 1) * c.query_row;
                    strip.most[row] = MASKED;
                    strip.total[row] = 0.0f;
                    std::memset(strip.sums[row], 0, wide * sizeof(float));
                }
                for (int key = 0; key < padded; key += BLOCK) {
                    const int count = std::min(BLOCK, padded - key);
                    __m512 most[ROWS];
                    float correction[ROWS];
                    for (auto& one : most) one = _mm512_set1_ps(MASKED);
                    score(strip, rows, packed_keys + key_head * key_numbers + (long)key * pairs,
                          bias + head / c.heads * padded + key, count / TILE, pairs, c.scale * LOG2_E, most);
                    weigh(strip, count, most, correction);
                    for (int done = 0; done < wide;) {
                        const int vectors = std::min(WIDEST, (wide - done) / LANES);
                        ADD_UP[vectors - 1](strip, packed_values + key_head * value_numbers + (long)key / 2 * wide, count,
                                            wide, done, correction);
                        done += vectors * LANES;
                    }
                }
                for (int row = 0; row < ROWS && first + row < end; ++row) {
                    const long at = ((long)(head / c.heads) * c.queries + first + row) * c.heads * c.size +
                                    (long)(head % c.heads) * c.size;
                    const __m512 inverse = _mm512_set1_ps(1.0f / strip.total[row]);
                    for (int feature = 0; feature < c.size; feature += LANES) {
                        const __mmask16 there = (1u << std::min(LANES, c.size - feature)) - 1;
                        __m512 found = _mm512_mul_ps(_mm512_load_ps(strip.sums[row] + feature), inverse);
                        if (!c.codes) {
                            _mm512_mask_storeu_ps((float*)c.out + at + feature, there, found);
                            continue;
                        }
                        codes.store((uint8_t*)c.out + at + feature, there, found);
                    }
                }
            }
        }
    }
}
}
