/* Calls, jumps and what is read relative to an instruction's address, made absolute: the same function or variable is then the
 * same bytes wherever it is used (docs/arithmetic.md, "Machine code"). */
#include "code.h"

#define X86_LEAST 7u /* bytes of the longest instruction that is looked at, and its number */

/* Opcodes that, with a ModRM byte of 0x05, 0x0d, ... 0x3d, are looked at. */
static int has_address(uint32_t opcode) {
    switch (opcode) {
    case 0x01: case 0x03: case 0x10: case 0x11: case 0x2b: case 0x39: case 0x3b: case 0x63: case 0x6f: case 0x80: case 0x83:
    case 0x85: case 0x89: case 0x8b: case 0x8d: case 0xb6: case 0xb7: case 0xc6: case 0xc7: return 1;
    default: return 0;
    }
}

/* Where the address of an instruction at `b` starts, 0 if there is none. */
static uint32_t address_place(const uint8_t *b) {
    if ((b[0] & 0xfe) == 0xe8) return 1;
    if (has_address(b[0]) && (b[1] & 0xc7) == 5) return 2;
    return b[0] == 0xff && (b[1] == 0x15 || b[1] == 0x25) ? 2 : 0;
}

/* An address that is near enough has a highest byte of 0 or 255, which stays. The others are then the highest first. */
static void x86_to_absolute(uint8_t *b, uint32_t at) {
    const uint32_t place = address_place(b);
    uint8_t *a = b + place;
    if (place == 0 || (a[3] != 0 && a[3] != 255)) return;
    const uint32_t address = (a[0] | (uint32_t)a[1] << 8 | (uint32_t)a[2] << 16) + at + place + 4;
    a[0] = (uint8_t)(address >> 16);
    a[1] = (uint8_t)(address >> 8);
    a[2] = (uint8_t)address;
}

static void x86_to_relative(uint8_t *b, uint32_t at) {
    const uint32_t place = address_place(b);
    uint8_t *a = b + place;
    if (place == 0 || (a[3] != 0 && a[3] != 255)) return;
    const uint32_t address = (a[2] | (uint32_t)a[1] << 8 | (uint32_t)a[0] << 16) - at - place - 4;
    a[0] = (uint8_t)address;
    a[1] = (uint8_t)(address >> 8);
    a[2] = (uint8_t)(address >> 16);
}

/* The last instruction first, so that the way back, from the first one on, finds every one as it was found here. */
void zllm_x86_absolute(uint8_t *code, size_t n) {
    for (size_t i = n < X86_LEAST ? 0 : n - X86_LEAST + 1; i-- > 0;) x86_to_absolute(code + i, (uint32_t)i);
}

void zllm_x86_relative(uint8_t *code, size_t n) {
    for (size_t i = 0; i + X86_LEAST <= n; i++) x86_to_relative(code + i, (uint32_t)i);
}

/* AArch64's BL: 26 bits of an instruction's 32 are a distance in instructions. */
static void arm_calls(uint8_t *code, size_t n, uint32_t sign) {
    for (size_t i = 0; i + 4 <= n; i += 4) {
        uint8_t *b = code + i;
        if (b[3] >> 2 != 0x25) continue;
        uint32_t word = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        word = (word & 0xfc000000) | ((word + sign * (uint32_t)(i / 4)) & 0x3ffffff);
        for (uint32_t k = 0; k < 4; k++) b[k] = (uint8_t)(word >> 8 * k);
    }
}

void zllm_arm_absolute(uint8_t *code, size_t n) { arm_calls(code, n, 1); }
void zllm_arm_relative(uint8_t *code, size_t n) { arm_calls(code, n, UINT32_MAX); }
