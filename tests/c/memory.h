/* A counted heap over the C library, for tests of single core files. */
#ifndef MEMORY_H
#define MEMORY_H

#include "check.h"
#include "mem.h"

static inline void *memory_resize(void *context, void *old, size_t old_size, size_t new_size)
{
    (void)context, (void)old_size;
    if (new_size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, new_size);
}

static inline glas_heap memory_heap(size_t most) { return (glas_heap){.given = {NULL, memory_resize}, .most = most}; }

/* Ends a heap, of which nothing may be in use any more. */
static inline void memory_end(glas_heap *heap)
{
    check(heap->used == 0);
    glas_heap_close(heap);
}

#endif
