/* What a cffi module adds around the core: the C library's memory, and calls in one crossing from Python instead of one for each field.
 *
 * Included by the module's preamble only; the core itself never sees the C library.
 */
#ifndef GLAS_MODULE_H
#define GLAS_MODULE_H

#include <stdlib.h>

#include "glas_core.h"

/* cffi: begin */

/* What glasrt expects of a module; it refuses one that was built for another. Raised with every change of what is declared here or in
 * glas_core.h. */
#define GLAS_MODULE_INTERFACE 2

/* The C library's realloc and free, to give to glas_open. */
static const glas_allocator *glas_module_allocator(void);

/* A GLAS_IN_HTTP, _RPC or _INSPECT with its three texts: returns what glas_step returns, fills `reply`, and `fields` with its call,
 * barrier, outcome, reason, status, and the lengths of content type, body and message. */
static int32_t glas_module_call(glas_core *core, int32_t kind, uint64_t call, int64_t timeout_us, int64_t now, const char *a, size_t a_n,
                                const char *b, size_t b_n, const char *c, size_t c_n, glas_reply *reply, int64_t *fields);

/* The same fields of any reply. */
static void glas_module_fields(const glas_reply *reply, int64_t *fields);

/* cffi: end */

static inline void *glas_module_resize(void *context, void *old, size_t old_size, size_t new_size)
{
    (void)context;
    (void)old_size;
    if (new_size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, new_size);
}

static inline const glas_allocator *glas_module_allocator(void)
{
    static const glas_allocator memory = {NULL, glas_module_resize};
    return &memory;
}

static inline void glas_module_fields(const glas_reply *reply, int64_t *fields)
{
    fields[0] = (int64_t)reply->call;
    fields[1] = (int64_t)reply->barrier;
    fields[2] = reply->outcome;
    fields[3] = reply->reason;
    fields[4] = reply->status;
    fields[5] = (int64_t)reply->content_type.n;
    fields[6] = (int64_t)reply->body.n;
    fields[7] = (int64_t)reply->message.n;
}

static inline int32_t glas_module_call(glas_core *core, int32_t kind, uint64_t call, int64_t timeout_us, int64_t now, const char *a, size_t a_n,
                                       const char *b, size_t b_n, const char *c, size_t c_n, glas_reply *reply, int64_t *fields)
{
    const glas_input input = {.kind = kind, .now = now, .call = call, .timeout_us = timeout_us,
                              .a = {a, a_n}, .b = {b, b_n}, .c = {c, c_n}, .reply = reply};
    int32_t more = glas_step(core, &input);
    glas_module_fields(reply, fields);
    return more;
}

#endif
