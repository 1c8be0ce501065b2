/* Read ends of queues: rings of items. Taken items stay until the transaction settles, so that undo is a step back. */
#include "core.h"

static size_t item_size(const glas_state *state) { return (state->info->value->size + 15u) & ~(size_t)15u; }

static void *slot(const glas_state *state, uint32_t position)
{
    return state->ring.items + (size_t)(position & (state->ring.capacity - 1)) * item_size(state);
}

void *glas_ring_item(const glas_state *state, uint32_t nth)
{
    GLAS_ASSERT(nth < state->ring.count);
    return slot(state, state->ring.head + nth);
}

/* Doubles the ring; items keep their positions modulo the new capacity. */
static bool grow(glas_heap *heap, glas_state *state)
{
    glas_ring *ring = &state->ring;
    uint32_t held = ring->taken + ring->count, first = ring->head - ring->taken;
    if (held < ring->capacity) return true;
    if (ring->capacity > UINT32_C(1) << 28) return false;
    uint32_t capacity = ring->capacity == 0 ? 16 : ring->capacity * 2;
    size_t size = item_size(state);
    uint8_t *items = glas_heap_resize(heap, NULL, 0, capacity * size);
    if (items == NULL) return false;
    for (uint32_t i = 0; i < held; i++) memcpy(items + ((first + i) & (capacity - 1)) * size, slot(state, first + i), size);
    glas_heap_resize(heap, ring->items, ring->capacity * size, 0);
    ring->items = items;
    ring->capacity = capacity;
    return true;
}

bool glas_ring_push(glas_heap *heap, glas_state *state, const void *value)
{
    const glas_type *type = state->info->value;
    if (!grow(heap, state)) return false;
    void *to = slot(state, state->ring.head + state->ring.count);
    if (type->plain) memcpy(to, value, type->size);
    else if (!type->copy(heap, to, value)) return false;
    state->ring.count++;
    return true;
}

void glas_ring_unpush(glas_heap *heap, glas_state *state)
{
    GLAS_ASSERT(state->ring.count > 0);
    state->ring.count--;
    if (!state->info->value->plain) state->info->value->drop(heap, slot(state, state->ring.head + state->ring.count));
}

bool glas_ring_take(glas_state *state)
{
    if (state->ring.count == 0) return false;
    state->ring.head++;
    state->ring.count--;
    state->ring.taken++;
    return true;
}

void glas_ring_untake(glas_state *state)
{
    GLAS_ASSERT(state->ring.taken > 0);
    state->ring.head--;
    state->ring.count++;
    state->ring.taken--;
}

void glas_ring_settle(glas_heap *heap, glas_state *state)
{
    for (; state->ring.taken > 0; state->ring.taken--)
        if (!state->info->value->plain) state->info->value->drop(heap, slot(state, state->ring.head - state->ring.taken));
}

void glas_ring_close(glas_heap *heap, glas_state *state)
{
    glas_ring_settle(heap, state);
    while (state->ring.count > 0) glas_ring_unpush(heap, state);
    glas_heap_resize(heap, state->ring.items, state->ring.capacity * item_size(state), 0);
    state->ring.items = NULL;
    state->ring.capacity = 0;
}
