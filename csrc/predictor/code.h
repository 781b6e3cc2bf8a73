/* Machine code: where in an instruction the next byte is, and calls and jumps made absolute before they are coded. */
#ifndef ZLLM_PREDICTOR_CODE_H
#define ZLLM_PREDICTOR_CODE_H

#include <stddef.h>
#include <stdint.h>

/* What is known of x86 instructions before the next byte. Data is read as if it were code, and code that follows it is soon
 * read right. */
typedef struct {
    uint32_t phase;
    uint32_t left;      /* bytes of the displacement or of the immediate */
    uint32_t immediate; /* bytes of it to come after what comes now */
    uint32_t opcode;    /* above its byte the number of its table; 0 before it */
    uint32_t rex, narrow, modrm;
    uint32_t seen;    /* hash of the instruction's bytes, but for displacement and immediate */
    uint32_t history; /* the last opcodes, 12 bits each */
} x86_t;

void zllm_x86_byte(x86_t *x, uint32_t byte);
/* What the next byte is: one of 16 kinds. */
uint32_t zllm_x86_kind(const x86_t *x);
/* What tells most of an instruction: its opcode, or the one before it until that is known. */
uint32_t zllm_x86_opcode(const x86_t *x);

/* Of a document of machine code: relative addresses made absolute, in place, and back. Either takes any bytes. */
void zllm_x86_absolute(uint8_t *code, size_t n);
void zllm_x86_relative(uint8_t *code, size_t n);
void zllm_arm_absolute(uint8_t *code, size_t n);
void zllm_arm_relative(uint8_t *code, size_t n);

#endif
