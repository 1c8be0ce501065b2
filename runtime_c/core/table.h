/* A table of rows with typed keys: insertion-ordered, hashed, never shrunk but by taking back the newest row.
 *
 * A cell, a counter and a bounded counter are tables of one row without key. Knows no owner and no transaction.
 */
#ifndef GLAS_TABLE_H
#define GLAS_TABLE_H

#include "mem.h"

#define GLAS_NO_ROW UINT32_MAX

/* In memory a row is: this head, the key, the value (each 16-byte aligned). */
typedef struct glas_row {
    uint64_t hash;
    uint64_t mark; /* serial of the transaction or entry that last gathered this row, so that it is gathered once */
} glas_row;

typedef struct glas_table {
    const glas_type *key; /* NULL: one row, no key */
    size_t value_at;      /* where in a row its value begins */
    size_t row_size;
    uint8_t *rows;
    uint32_t *index; /* open addressing; a row's number plus one, 0: free */
    uint32_t count, capacity, index_capacity;
    uint64_t seed;
} glas_table;

static inline void glas_table_init(glas_table *table, const glas_type *key, size_t value_size, uint64_t seed)
{
    size_t key_size = key == NULL ? 0 : (key->size + 15u) & ~(size_t)15u;
    *table = (glas_table){.key = key, .value_at = sizeof(glas_row) + key_size, .seed = seed};
    table->row_size = table->value_at + ((value_size + 15u) & ~(size_t)15u);
}
static inline glas_row *glas_table_row(const glas_table *table, uint32_t row) { return (glas_row *)(void *)(table->rows + row * table->row_size); }
static inline void *glas_table_key(const glas_table *table, uint32_t row) { return table->rows + row * table->row_size + sizeof(glas_row); }
static inline void *glas_table_value(const glas_table *table, uint32_t row) { return table->rows + row * table->row_size + table->value_at; }

uint32_t glas_table_find(const glas_table *table, const void *key); /* GLAS_NO_ROW: none */
/* A new row with a copy of the key and a value of zero bits; the key must not be there. GLAS_NO_ROW: out of memory. */
uint32_t glas_table_add(glas_heap *heap, glas_table *table, const void *key);
void glas_table_take_back(glas_heap *heap, glas_table *table); /* removes the newest row; its value must hold nothing */
void glas_table_close(glas_heap *heap, glas_table *table);     /* values must hold nothing */

#endif
