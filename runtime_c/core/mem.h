/* Memory: the counted heap, the transaction's arena, growable bytes. Knows no transaction and no app. */
#ifndef GLAS_MEM_H
#define GLAS_MEM_H

#include "glas_app.h"

#ifdef NDEBUG
#error "assertions stay on"
#endif

/* Stops the process: a broken invariant of the core must never be carried on with. */
#define GLAS_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())

/* Blocks of up to GLAS_SMALL bytes, as short texts take, are kept for the next of their size. Not under AddressSanitizer, which is to see
 * every block that is used after it was given back. */
#if defined(__has_feature) /* clang; gcc defines a macro */
#if __has_feature(address_sanitizer)
#define GLAS_SMALL 0u
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define GLAS_SMALL 0u
#endif
#ifndef GLAS_SMALL
#define GLAS_SMALL 64u
#endif
#define GLAS_SMALL_STEP 16u

struct glas_heap {
    glas_allocator given;
    size_t used; /* bytes held now */
    size_t most; /* bytes that may be held */
    void *spare[64 / GLAS_SMALL_STEP]; /* lists of blocks given back, by size; linked through their first bytes */
};

void glas_heap_close(glas_heap *heap); /* gives spare blocks back */

/* Like realloc, counted: NULL when the limit or the allocator says no, and the old block is then untouched. new_size 0 frees. */
void *glas_heap_resize(glas_heap *heap, void *old, size_t old_size, size_t new_size);

bool glas_heap_grow(glas_heap *heap, void *array_pointer, uint32_t *capacity, uint64_t need, size_t element_size);

/* Grows an array so that it holds `need` elements; *array and *capacity change together. False: out of memory, nothing changed. */
static inline bool glas_heap_reserve(glas_heap *heap, void *array_pointer, uint32_t *capacity, uint64_t need, size_t element_size)
{
    return need <= *capacity || glas_heap_grow(heap, array_pointer, capacity, need, element_size);
}

/* Memory that lives until the arena is reset; chunks are kept for the next use up to a bound. */
typedef struct glas_chunk {
    struct glas_chunk *older;
    size_t size, used;
} glas_chunk;

typedef struct glas_arena {
    glas_heap *heap;
    glas_chunk *newest;
} glas_arena;

void *glas_arena_grow(glas_arena *arena, size_t size); /* glas_arena_take where the newest chunk has no room */

/* 16-byte aligned; NULL: out of memory. */
static inline void *glas_arena_take(glas_arena *arena, size_t size)
{
    glas_chunk *chunk = arena->newest;
    size_t rounded = (size + 15u) & ~(size_t)15u;
    if (chunk == NULL || rounded < size || chunk->size - chunk->used < rounded) return glas_arena_grow(arena, size);
    void *result = (char *)chunk + chunk->used;
    chunk->used += rounded;
    return result;
}
void glas_arena_reset(glas_arena *arena);
void glas_arena_close(glas_arena *arena);

/* Bytes being written; `failed` sticks once memory or `most` ran out. */
struct glas_writer {
    glas_heap *heap;
    uint8_t *p;
    size_t n, capacity;
    size_t most; /* bytes it may hold */
    int64_t base_time;
    bool failed;
};

void glas_writer_close(glas_writer *writer);
/* Room for `size` more bytes, to be written at p + n; NULL where it failed. */
uint8_t *glas_writer_room(glas_writer *writer, size_t size);
void glas_put_bytes(glas_writer *writer, const void *bytes, size_t n);
static inline void glas_put_byte(glas_writer *writer, uint8_t byte) { glas_put_bytes(writer, &byte, 1); }
void glas_put_u64(glas_writer *writer, uint64_t value); /* eight bytes, little-endian */

/* Bytes being read; `bad` sticks, and `at` then stands where the bytes are wrong. */
struct glas_reader {
    const uint8_t *p;
    size_t n, at;
    int64_t base_time;
    bool bad;
};

static inline glas_reader glas_reader_over(const void *p, size_t n) { return (glas_reader){.p = p, .n = n}; }
bool glas_take_bytes(glas_reader *reader, size_t n, const uint8_t **bytes);
bool glas_take_byte(glas_reader *reader, uint8_t *byte);
bool glas_take_u64(glas_reader *reader, uint64_t *value);
static inline bool glas_take_bad(glas_reader *reader)
{
    reader->bad = true;
    return false;
}

/* Is it well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF)? */
bool glas_is_utf8(const uint8_t *bytes, size_t n);

#endif
