/* Linear prediction by least squares over what was seen of late, older samples counting exponentially less: normal
 * equations in 64-bit integers, solved by a Cholesky decomposition in fixed point.
 */
#ifndef ZLLM_MEDIA_OLS_H
#define ZLLM_MEDIA_OLS_H

#include <stdint.h>

#define OLS_MOST 32
#define OLS_FRACTION 20 /* bits of a prediction below one */

typedef struct {
    uint32_t n;        /* inputs, up to OLS_MOST */
    uint32_t every;    /* samples between two solutions */
    uint32_t fade;     /* at each solution, sums lose 2^-fade of them */
    uint32_t since;
    uint32_t lead;        /* the second window's newest input, or n; 0: no windows */
    int64_t newest[2][OLS_MOST]; /* since the last solution: sums of each window's newest input times x[i] */
    int32_t first[OLS_MOST];     /* the inputs of the first sample since then */
    int32_t x[OLS_MOST];  /* inputs of the prediction that waits for its sample */
    int64_t weight[OLS_MOST]; /* in 2^-OLS_FRACTION */
    int64_t products[OLS_MOST][OLS_MOST]; /* lower triangle: sums of x[i] x[j] */
    int64_t targets[OLS_MOST];            /* sums of x[i] y */
    int64_t energy;                       /* sum of y^2 */
} ols_t;

/* lead > 0: inputs are one or two windows that move by one from sample to sample, which makes learning faster: x[i] becomes
 * x[i + 1], but for the newest, x[0] and x[lead]. 0: inputs are any. */
void zllm_ols_start(ols_t *o, uint32_t n, uint32_t lead, uint32_t every, uint32_t fade);
/* Of the inputs o->x, each below 2^24 in magnitude; the prediction is in 2^-OLS_FRACTION. */
int64_t zllm_ols_predict(const ols_t *o);
void zllm_ols_learn(ols_t *o, int32_t y);

#endif
