#include "archive/problem.h"

#include <stdarg.h>
#include <stdio.h>

zllm_result zllm_problem(problem_t *p, zllm_result result, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(p->text, sizeof p->text, format, arguments);
    va_end(arguments);
    for (char *c = p->text; *c != 0; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?'; /* names of members may have anything */
    p->result = result;
    return result;
}

void zllm_problem_note(problem_t *told, const problem_t *other) {
    const int damage = other->result == ZLLM_E_DAMAGED && told->result != ZLLM_E_DAMAGED;
    if (told->result == ZLLM_OK || damage) *told = *other;
}
