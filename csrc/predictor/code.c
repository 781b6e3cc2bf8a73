/* Machine code (docs/arithmetic.md, "Machine code"): a reader of x86 instructions that knows their lengths, and addresses. */
#include "code.h"

#include <string.h>

#include "state.h"

enum { START, ESCAPE, ESCAPE_38, ESCAPE_3A, MODRM, SIB, DISPLACEMENT, IMMEDIATE, VEX_3, VEX_2 };

/* What follows an opcode, 16 to a line. m: ModRM; 1 2 3 4: bytes of an immediate, where 4 are 2 after 66; c: always 4;
 * n, w: ModRM, then 1 or 4; q: 4, or 8 with REX.W; t, T: ModRM, then 1 or 4 if it says test; p: a prefix; o: 66; r: REX;
 * e: 0F, v, V: VEX of 2 and 3 bytes; x, y: 38 and 3A after 0F; a dot: nothing. */
static const char ONE_BYTE[] = "mmmm14..mmmm14.e"
                               "mmmm14..mmmm14.."
                               "mmmm14p.mmmm14p."
                               "mmmm14p.mmmm14p."
                               "rrrrrrrrrrrrrrrr"
                               "................"
                               "..mmppop4w1n...."
                               "1111111111111111"
                               "nwnnmmmmmmmmmmmm"
                               "................"
                               "........14......"
                               "11111111qqqqqqqq"
                               "nn2.Vvnw3....1.."
                               "mmmm....mmmmmmmm"
                               "11111111cc.1...."
                               "p.pp..tT......mm";
static const char TWO_BYTES[] = "mmmmm.mmmmm.mmmm"
                                "mmmmmmmmmmmmmmmm"
                                "mmmmmmmmmmmmmmmm"
                                "m.mmmmmmxmymmmmm"
                                "mmmmmmmmmmmmmmmm"
                                "mmmmmmmmmmmmmmmm"
                                "mmmmmmmmmmmmmmmm"
                                "nnnnmmm.mmmmmmmm"
                                "cccccccccccccccc"
                                "mmmmmmmmmmmmmmmm"
                                "...mnmmm..mmnmmm"
                                "mmmmmmmmmmnmmmmm"
                                "mmnmnnnm........"
                                "mmmmmmmmmmmmmmmm"
                                "mmmmmmmmmmmmmmmm"
                                "mmmmmmmmmmmmmmmm";

static void x86_end(x86_t *x) { *x = (x86_t){.history = x->history << 12 | x->opcode}; }

static void x86_immediate(x86_t *x) {
    x->left = x->immediate;
    x->phase = IMMEDIATE;
    if (x->left == 0) x86_end(x);
}

static void x86_opcode(x86_t *x, uint32_t opcode, char follows) {
    const uint32_t word = x->narrow ? 2 : 4;
    x->opcode = opcode;
    switch (follows) {
    case '1': case '2': case '3': x->immediate = (uint32_t)(follows - '0'); break;
    case '4': case 'w': x->immediate = word; break;
    case 'c': x->immediate = 4; break;
    case 'n': x->immediate = 1; break;
    case 'q': x->immediate = x->rex & 8 ? 8 : word; break;
    default: x->immediate = 0;
    }
    if (strchr("mnwtT", follows)) x->phase = MODRM;
    else x86_immediate(x);
}

static void x86_first(x86_t *x, uint32_t byte) {
    const char follows = ONE_BYTE[byte];
    switch (follows) {
    case 'p': return;
    case 'o': x->narrow = 1; return;
    case 'r': x->rex = byte; return;
    case 'e': x->phase = ESCAPE; return;
    case 'v': x->phase = VEX_2; return;
    case 'V': x->phase = VEX_3; return;
    default: x86_opcode(x, byte, follows);
    }
}

static void x86_second(x86_t *x, uint32_t byte) {
    const char follows = TWO_BYTES[byte];
    if (follows == 'x') x->phase = ESCAPE_38;
    else if (follows == 'y') x->phase = ESCAPE_3A;
    else x86_opcode(x, 0x100 | byte, follows);
}

static void x86_memory(x86_t *x) {
    x->phase = DISPLACEMENT;
    if (x->left == 0) x86_immediate(x);
}

static void x86_modrm(x86_t *x, uint32_t byte) {
    const uint32_t mode = byte >> 6, register_or_memory = byte & 7;
    x->modrm = byte;
    if ((x->opcode == 0xf6 || x->opcode == 0xf7) && (byte & 0x38) < 0x10)
        x->immediate = x->opcode == 0xf6 ? 1 : x->narrow ? 2 : 4;
    x->left = mode == 1 ? 1 : mode == 2 || (mode == 0 && register_or_memory == 5) ? 4 : 0;
    if (mode != 3 && register_or_memory == 4) x->phase = SIB;
    else x86_memory(x);
}

void zllm_x86_byte(x86_t *x, uint32_t byte) {
    if (x->phase != DISPLACEMENT && x->phase != IMMEDIATE) x->seen = hash32(((uint64_t)x->seen << 8) + byte + 1);
    switch (x->phase) {
    case START: x86_first(x, byte); break;
    case ESCAPE: x86_second(x, byte); break;
    case ESCAPE_38: x86_opcode(x, 0x200 | byte, 'm'); break;
    case ESCAPE_3A: x86_opcode(x, 0x300 | byte, 'n'); break;
    case VEX_3: x->phase = VEX_2; break;
    case VEX_2: x->phase = ESCAPE; break;
    case MODRM: x86_modrm(x, byte); break;
    case SIB:
        if (x->modrm < 0x40 && (byte & 7) == 5) x->left = 4;
        x86_memory(x);
        break;
    case DISPLACEMENT:
        if (--x->left == 0) x86_immediate(x);
        break;
    default:
        if (--x->left == 0) x86_end(x);
    }
}

uint32_t zllm_x86_kind(const x86_t *x) {
    switch (x->phase) {
    case START: return x->seen != 0;
    case MODRM: return 2;
    case SIB: return 3;
    case DISPLACEMENT: return 5 + x->left;
    case IMMEDIATE: return 10 + (x->left < 5 ? x->left : 5);
    case VEX_3: case VEX_2: return 5;
    default: return 4;
    }
}

uint32_t zllm_x86_opcode(const x86_t *x) { return x->phase != START ? x->opcode & 255 : x->history & 255; }
