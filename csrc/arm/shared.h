/* What the two ARM kernels share: layouts, the tiling of a matrix product, and the product with values.
 * Define NAME(f), TARGET and TILES (a list of tile_t, widest first, the last one for a single row) before including.
 *
 * Packed matrix: [rows / 8][cols / 4][8][4]; a 16-byte load holds four columns of four rows.
 * Value cache: [slots][dim]; values are widened to int16 and multiplied by smlal, an int32 sum of exact products. */
#include <arm_neon.h>
#include <string.h>

TARGET static void NAME(key_row)(const int8_t *w, uint32_t row, uint32_t cols, int8_t *packed) {
    int8_t *p = packed + (size_t)(row / 8) * 8 * cols + (row % 8) * 4;
    for (uint32_t i = 0; i < cols; i += 4) memcpy(p + (size_t)i * 8, w + i, 4);
}

static void NAME(pack)(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed) {
    const size_t padded = padded_rows(rows);
    memset(packed, 0, padded * cols);
    for (uint32_t j = 0; j < rows; j++) NAME(key_row)(w + (size_t)j * cols, j, cols, packed);
}

/* Products of a few packed rows with a few activation rows, all sums in registers. */
typedef struct {
    uint32_t act_rows, packed_rows;
    void (*multiply)(const int8_t *w, uint32_t cols, const int8_t *act, size_t act_stride, int32_t *acc,
                     size_t acc_stride);
} tile_t;

/* 32 packed rows stay in the first-level cache while all activation rows pass by. */
static void NAME(matmul)(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                         const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride) {
    static const tile_t tiles[] = {TILES};
    (void)act_sum;
    for (uint32_t j = 0; j < rows; j += 32) {
        const tile_t *tile = tiles;
        for (uint32_t r = 0; r < batch; r += tile->act_rows) {
            while (batch - r < tile->act_rows) tile++;
            for (uint32_t k = j; k < j + 32; k += tile->packed_rows)
                tile->multiply(packed + (size_t)k * cols, cols, act + r * act_stride, act_stride,
                               acc + r * acc_stride + k, acc_stride);
        }
    }
}

static void NAME(value_row)(const int8_t *v, uint32_t slot, uint32_t dim, int8_t *cache) {
    memcpy(cache + (size_t)slot * dim, v, dim);
}

/* Eight values of a slot, times the weight in that lane of every head's pair. */
#define WEIGH_EIGHT(H, k, eight, LANE)                                                                                \
    wide = vmovl_s8(eight);                                                                                           \
    for (int h = 0; h < H; h++) {                                                                                     \
        s[h][k] = vmlal_lane_s16(s[h][k], vget_low_s16(wide), pair[h], LANE);                                         \
        s[h][k + 1] = vmlal_lane_s16(s[h][k + 1], vget_high_s16(wide), pair[h], LANE);                                \
    }

/* Sixteen values of H heads; every vector of values is loaded once for all of them. */
#define WEIGH_TILE(H)                                                                                                 \
    TARGET static void NAME(weigh##H)(const int8_t *values, uint32_t slots, uint32_t dim, const int16_t *w,           \
                                      size_t stride, int32_t *acc) {                                                  \
        int32x4_t s[H][4];                                                                                            \
        for (int h = 0; h < H; h++) s[h][0] = s[h][1] = s[h][2] = s[h][3] = vdupq_n_s32(0);                           \
        for (uint32_t t = 0; t < slots; t += 2) {                                                                     \
            const int8x16_t v0 = vld1q_s8(values), v1 = vld1q_s8(values + dim);                                       \
            int16x8_t wide;                                                                                           \
            int16x4_t pair[H];                                                                                        \
            for (int h = 0; h < H; h++) {                                                                             \
                int32_t both;                                                                                         \
                memcpy(&both, w + h * stride + t, sizeof both);                                                       \
                pair[h] = vreinterpret_s16_s32(vdup_n_s32(both));                                                     \
            }                                                                                                         \
            WEIGH_EIGHT(H, 0, vget_low_s8(v0), 0)                                                                     \
            WEIGH_EIGHT(H, 2, vget_high_s8(v0), 0)                                                                    \
            WEIGH_EIGHT(H, 0, vget_low_s8(v1), 1)                                                                     \
            WEIGH_EIGHT(H, 2, vget_high_s8(v1), 1)                                                                    \
            values += (size_t)2 * dim;                                                                                \
        }                                                                                                             \
        for (int h = 0; h < H; h++)                                                                                   \
            for (int k = 0; k < 4; k++) vst1q_s32(acc + (size_t)h * dim + 4 * k, s[h][k]);                            \
    }

WEIGH_TILE(4)
WEIGH_TILE(2)
WEIGH_TILE(1)

static void NAME(weigh_values)(const int8_t *cache, uint32_t slots, uint32_t dim, const int16_t *w, size_t stride,
                               uint32_t heads, int32_t *acc, const int8_t *next) {
    (void)next;
    for (uint32_t d = 0; d < dim; d += 16) {
        uint32_t h = 0;
        for (; h + 4 <= heads; h += 4)
            NAME(weigh4)(cache + d, slots, dim, w + h * stride, stride, acc + (size_t)h * dim + d);
        for (; h + 2 <= heads; h += 2)
            NAME(weigh2)(cache + d, slots, dim, w + h * stride, stride, acc + (size_t)h * dim + d);
        if (h < heads) NAME(weigh1)(cache + d, slots, dim, w + h * stride, stride, acc + (size_t)h * dim + d);
    }
}
