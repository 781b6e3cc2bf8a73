/* Weights with 128 added, for vpdpbusd. Define NAME(f) and LOAD_ROWS before including: a load holds four columns of so
 * many rows. Packed matrix, key cache: [rows / LOAD_ROWS][cols / 4][LOAD_ROWS][4]. */
#include <string.h>

static void NAME(key_row)(const int8_t *w, uint32_t row, uint32_t cols, int8_t *packed) {
    int8_t *p = packed + (size_t)(row / LOAD_ROWS) * LOAD_ROWS * cols + (row % LOAD_ROWS) * 4;
    for (uint32_t i = 0; i < cols; i += 4) {
        uint32_t four;
        memcpy(&four, w + i, sizeof four);
        four ^= 0x80808080u; /* w + 128 in each byte */
        memcpy(p + (size_t)i * LOAD_ROWS, &four, sizeof four);
    }
}

static void NAME(pack)(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed) {
    memset(packed, 128, (size_t)padded_rows(rows) * cols);
    for (uint32_t j = 0; j < rows; j++) NAME(key_row)(w + (size_t)j * cols, j, cols, packed);
}
