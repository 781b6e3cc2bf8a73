/* What the parts of tests/cross/machine.c share. */
#ifndef CROSS_MACHINE_H
#define CROSS_MACHINE_H

#include "bundle.h"
#include "sha256.h"
#include "zllm_testing.h"

#define MODELS 16u

typedef struct {
    bundle_t bundle;
    const char *kernel;
    int leave_out_slow;
    zllm_model *models[MODELS];
    uint32_t outputs[MODELS];
    uint32_t n_models;
} run_t;

/* Say what is wrong; 1. */
int fail(const char *format, ...);
void print_item(sha256_t *s, const char *name, const char *kind);

/* Frames of one model, and their failures (frames.c); text without a model (text.c). 0, or 1 after a message. */
int do_frames(run_t *r, const char *name);
int do_failures(run_t *r, const char *name);
int do_text(run_t *r, const char *name);

#endif
