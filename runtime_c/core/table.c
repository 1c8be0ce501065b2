/* Rows in insertion order behind an open-addressing index (linear probing, at most three quarters full). */
#include "table.h"

static uint64_t hash_of(const glas_table *table, const void *key) { return table->key->hash(key, table->seed); }

static uint32_t *slot_of(const glas_table *table, uint64_t hash, uint32_t row_plus_one)
{
    uint32_t mask = table->index_capacity - 1, at = (uint32_t)(hash >> 8) & mask;
    while (table->index[at] != row_plus_one) at = (at + 1) & mask;
    return &table->index[at];
}

uint32_t glas_table_find(const glas_table *table, const void *key)
{
    if (table->key == NULL) return table->count == 0 ? GLAS_NO_ROW : 0;
    if (table->count == 0) return GLAS_NO_ROW;
    uint64_t hash = hash_of(table, key);
    uint32_t mask = table->index_capacity - 1;
    for (uint32_t at = (uint32_t)(hash >> 8) & mask; table->index[at] != 0; at = (at + 1) & mask) {
        uint32_t row = table->index[at] - 1;
        if (glas_table_row(table, row)->hash == hash && table->key->equal(glas_table_key(table, row), key)) return row;
    }
    return GLAS_NO_ROW;
}

static bool grow_index(glas_heap *heap, glas_table *table)
{
    if (table->key == NULL || (uint64_t)(table->count + 1) * 4 <= (uint64_t)table->index_capacity * 3) return true;
    uint32_t capacity = table->index_capacity == 0 ? 16 : table->index_capacity * 2;
    if (capacity > UINT32_C(1) << 30) return false;
    uint32_t *index = glas_heap_resize(heap, NULL, 0, capacity * sizeof *index);
    if (index == NULL) return false;
    memset(index, 0, capacity * sizeof *index);
    glas_heap_resize(heap, table->index, table->index_capacity * sizeof *index, 0);
    table->index = index;
    table->index_capacity = capacity;
    for (uint32_t row = 0; row < table->count; row++) *slot_of(table, glas_table_row(table, row)->hash, 0) = row + 1;
    return true;
}

static bool copy_key(glas_heap *heap, const glas_type *type, void *to, const void *from)
{
    if (!type->plain) return type->copy(heap, to, from);
    memcpy(to, from, type->size);
    return true;
}

uint32_t glas_table_add(glas_heap *heap, glas_table *table, const void *key)
{
    if (!glas_heap_reserve(heap, &table->rows, &table->capacity, (uint64_t)table->count + 1, table->row_size)) return GLAS_NO_ROW;
    if (!grow_index(heap, table)) return GLAS_NO_ROW;
    uint32_t row = table->count;
    memset(glas_table_row(table, row), 0, table->row_size);
    if (table->key != NULL) {
        if (!copy_key(heap, table->key, glas_table_key(table, row), key)) return GLAS_NO_ROW;
        glas_table_row(table, row)->hash = hash_of(table, key);
        *slot_of(table, glas_table_row(table, row)->hash, 0) = row + 1;
    }
    table->count++;
    return row;
}

/* The newest row was put at the end of its probe run, so nothing behind it needs it there. */
void glas_table_take_back(glas_heap *heap, glas_table *table)
{
    GLAS_ASSERT(table->count > 0);
    uint32_t row = table->count - 1;
    if (table->key != NULL) {
        *slot_of(table, glas_table_row(table, row)->hash, row + 1) = 0;
        if (!table->key->plain) table->key->drop(heap, glas_table_key(table, row));
    }
    table->count--;
}

void glas_table_close(glas_heap *heap, glas_table *table)
{
    while (table->count > 0) glas_table_take_back(heap, table);
    glas_heap_resize(heap, table->rows, table->capacity * table->row_size, 0);
    glas_heap_resize(heap, table->index, table->index_capacity * sizeof *table->index, 0);
    table->rows = NULL;
    table->index = NULL;
    table->capacity = table->index_capacity = 0;
}
