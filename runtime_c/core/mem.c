/* The counted heap and the arena. */
#include "mem.h"

#define CHUNK_SIZE 16384u
#define KEPT_CHUNK 65536u /* the largest that is kept for the next use */

static size_t class_of(size_t size) { return (size - 1) / GLAS_SMALL_STEP; }

static void *take_block(glas_heap *heap, size_t size)
{
    if (size > GLAS_SMALL) return heap->given.resize(heap->given.context, NULL, 0, size);
    size_t class = class_of(size);
    void *block = heap->spare[class];
    if (block == NULL) return heap->given.resize(heap->given.context, NULL, 0, (class + 1) * GLAS_SMALL_STEP);
    memcpy(&heap->spare[class], block, sizeof block);
    return block;
}

static void give_block(glas_heap *heap, void *block, size_t size)
{
    if (size > GLAS_SMALL) {
        heap->given.resize(heap->given.context, block, size, 0);
        return;
    }
    memcpy(block, &heap->spare[class_of(size)], sizeof block);
    heap->spare[class_of(size)] = block;
}

/* The block may stay where it is, or has to move: a failure leaves it as it was. */
static void *change_block(glas_heap *heap, void *old, size_t old_size, size_t new_size)
{
    if (old_size > GLAS_SMALL && new_size > GLAS_SMALL) return heap->given.resize(heap->given.context, old, old_size, new_size);
    if (old_size <= GLAS_SMALL && new_size <= GLAS_SMALL && class_of(old_size) == class_of(new_size)) return old;
    void *now = take_block(heap, new_size);
    if (now == NULL) return NULL;
    memcpy(now, old, old_size < new_size ? old_size : new_size);
    give_block(heap, old, old_size);
    return now;
}

void *glas_heap_resize(glas_heap *heap, void *old, size_t old_size, size_t new_size)
{
    void *now = NULL;
    if (new_size > old_size && new_size - old_size > heap->most - heap->used) return NULL;
    if (new_size == 0 && old == NULL) return NULL;
    if (new_size == 0) give_block(heap, old, old_size);
    else now = old == NULL ? take_block(heap, new_size) : change_block(heap, old, old_size, new_size);
    if (new_size != 0 && now == NULL) return NULL;
    heap->used = heap->used - old_size + new_size;
    return now;
}

void glas_heap_close(glas_heap *heap)
{
    for (size_t class = 0; class < sizeof heap->spare / sizeof *heap->spare; class++) {
        while (heap->spare[class] != NULL) {
            void *block = heap->spare[class];
            memcpy(&heap->spare[class], block, sizeof block);
            heap->given.resize(heap->given.context, block, (class + 1) * GLAS_SMALL_STEP, 0);
        }
    }
}

bool glas_heap_grow(glas_heap *heap, void *array_pointer, uint32_t *capacity, uint64_t need, size_t element_size)
{
    uint64_t wanted = *capacity < 8 ? 8 : (uint64_t)*capacity * 2;
    if (wanted < need) wanted = need;
    if (wanted > UINT32_MAX / 2 || wanted > SIZE_MAX / element_size) return false;
    void *old;
    memcpy(&old, array_pointer, sizeof old); /* any T** may come in: copied, so that no aliasing rule is broken */
    void *now = glas_heap_resize(heap, old, *capacity * element_size, (size_t)wanted * element_size);
    if (now == NULL) return false;
    memcpy(array_pointer, &now, sizeof now);
    *capacity = (uint32_t)wanted;
    return true;
}

void *glas_arena_grow(glas_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + 15u) & ~(size_t)15u;
    const size_t head = (sizeof(glas_chunk) + 15u) & ~(size_t)15u;
    size_t total = head + (size > CHUNK_SIZE ? size : CHUNK_SIZE);
    glas_chunk *chunk = glas_heap_resize(arena->heap, NULL, 0, total);
    if (chunk == NULL) return NULL;
    *chunk = (glas_chunk){.older = arena->newest, .size = total, .used = head + size};
    arena->newest = chunk;
    return (char *)chunk + head;
}

static void drop_newest(glas_arena *arena)
{
    glas_chunk *chunk = arena->newest;
    arena->newest = chunk->older;
    glas_heap_resize(arena->heap, chunk, chunk->size, 0);
}

void glas_arena_reset(glas_arena *arena)
{
    while (arena->newest != NULL && (arena->newest->older != NULL || arena->newest->size > KEPT_CHUNK)) drop_newest(arena);
    if (arena->newest != NULL) arena->newest->used = (sizeof(glas_chunk) + 15u) & ~(size_t)15u;
}

void glas_arena_close(glas_arena *arena)
{
    while (arena->newest != NULL) drop_newest(arena);
}
