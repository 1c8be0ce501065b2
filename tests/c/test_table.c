/* Tables of rows and rings of items, with thousands of each. */
#include "core.h"
#include "memory.h"

#define KEYS 5000u

static glas_text key_of(unsigned i, char *room) { return (glas_text){room, (uint32_t)sprintf(room, "key number %u", i)}; }

static void test_many_keys(void)
{
    glas_heap heap = memory_heap(1 << 24);
    glas_table table;
    char room[40];
    glas_table_init(&table, &glas_type_text, 8, 99);
    for (unsigned i = 0; i < KEYS; i++) {
        glas_text key = key_of(i, room);
        check(glas_table_find(&table, &key) == GLAS_NO_ROW);
        check(glas_table_add(&heap, &table, &key) == i);
        memset(room, 'x', sizeof room); /* the table has a copy */
        *(uint64_t *)glas_table_value(&table, i) = i * 3;
    }
    for (unsigned i = 0; i < KEYS; i++) {
        glas_text key = key_of(i, room);
        check(glas_table_find(&table, &key) == i && *(uint64_t *)glas_table_value(&table, i) == i * 3);
    }
    glas_text absent = GLAS_TEXT("key number"), empty = {NULL, 0};
    check(glas_table_find(&table, &absent) == GLAS_NO_ROW && glas_table_find(&table, &empty) == GLAS_NO_ROW);
    for (unsigned i = KEYS; i-- > 0;) {
        glas_text key = key_of(i, room);
        glas_table_take_back(&heap, &table);
        check(glas_table_find(&table, &key) == GLAS_NO_ROW);
        if (i % 100 != 0) continue;
        for (unsigned k = 0; k < i; k++) {
            glas_text other = key_of(k, room);
            check(glas_table_find(&table, &other) == k);
        }
        if (i > 0) check(glas_table_add(&heap, &table, &key) == i), glas_table_take_back(&heap, &table);
    }
    glas_table_close(&heap, &table);
    memory_end(&heap);
}

/* Adding and taking back as transactions do, against a plain count. */
static void test_add_and_take_back(void)
{
    glas_heap heap = memory_heap(1 << 24);
    glas_table table;
    unsigned long long random = 7;
    glas_table_init(&table, &glas_type_int, 0, 5);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned add = (unsigned)(check_random(&random) % 8), back = (unsigned)(check_random(&random) % 7);
        for (unsigned i = 0; i < add; i++) {
            int64_t key = (int64_t)table.count * 1000003;
            check(glas_table_add(&heap, &table, &key) == (uint32_t)(key / 1000003));
        }
        for (unsigned i = 0; i < back && table.count > 0; i++) glas_table_take_back(&heap, &table);
        if (round % 64 != 0) continue;
        for (unsigned i = 0; i < table.count + 20; i++) {
            int64_t key = (int64_t)i * 1000003;
            check(glas_table_find(&table, &key) == (i < table.count ? i : GLAS_NO_ROW));
        }
    }
    glas_table_close(&heap, &table);
    memory_end(&heap);
}

static void test_no_key_and_no_memory(void)
{
    glas_heap heap = memory_heap(1 << 12);
    glas_table table;
    glas_table_init(&table, NULL, 16, 0);
    check(glas_table_find(&table, NULL) == GLAS_NO_ROW && glas_table_add(&heap, &table, NULL) == 0 && glas_table_find(&table, NULL) == 0);
    glas_table_close(&heap, &table);
    glas_table_init(&table, &glas_type_text, 100, 1);
    char room[40];
    unsigned count = 0;
    for (;; count++) {
        glas_text key = key_of(count, room);
        if (glas_table_add(&heap, &table, &key) == GLAS_NO_ROW) break;
    }
    check(count > 3 && count < 100 && table.count == count);
    for (unsigned i = 0; i < count + 3; i++) {
        glas_text key = key_of(i, room);
        check(glas_table_find(&table, &key) == (i < count ? i : GLAS_NO_ROW));
    }
    glas_table_close(&heap, &table);
    memory_end(&heap);
}

static void test_ring(void)
{
    static const glas_state_info info = {.name = "queue", .kind = GLAS_QUEUE, .value = &glas_type_text};
    glas_heap heap = memory_heap(1 << 24);
    unsigned long long random = 3;
    unsigned oldest = 0, next = 0;
    char room[40];
    glas_state state = {.info = &info, .ring = {.head = UINT32_MAX - 700}}; /* positions wrap on the way */
    for (unsigned round = 0; round < 20000; round++) {
        unsigned what = (unsigned)(check_random(&random) % 16);
        if (what < 8) {
            glas_text item = key_of(next++, room);
            check(glas_ring_push(&heap, &state, &item));
        } else if (what < 13) {
            check(glas_ring_take(&state) == (oldest < next));
            oldest += oldest < next;
        } else if (what == 13) glas_ring_settle(&heap, &state);
        else if (what == 14 && state.ring.taken > 0) glas_ring_untake(&state), oldest--;
        else if (what == 15 && oldest < next) glas_ring_unpush(&heap, &state), next--;
        check(state.ring.count == next - oldest);
        if (oldest == next) continue;
        unsigned nth = (unsigned)(check_random(&random) % (next - oldest));
        check(glas_text_equal(*(glas_text *)glas_ring_item(&state, nth), key_of(oldest + nth, room)));
    }
    check(state.ring.capacity > 16);
    glas_ring_close(&heap, &state);
    memory_end(&heap);
}

/* Values of built-in types: order, copies, hashes. */
static void test_values(void)
{
    static const glas_text order[] = {{NULL, 0}, {"\0", 1}, {"a", 1}, {"a\0", 2}, {"ab", 2}, {"b", 1}, {"\xC3\xA4", 2}};
    static const int64_t numbers[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
    for (int i = 0; i < 7; i++)
        for (int k = 0; k < 7; k++) {
            int sign = glas_type_text.compare(&order[i], &order[k]);
            check((sign < 0) == (i < k) && (sign > 0) == (i > k) && glas_type_text.equal(&order[i], &order[k]) == (i == k));
            check((glas_type_text.hash(&order[i], 1) == glas_type_text.hash(&order[k], 1)) == (i == k));
        }
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++) {
            int sign = glas_type_int.compare(&numbers[i], &numbers[k]);
            check((sign < 0) == (i < k) && (sign > 0) == (i > k));
        }
    check(glas_hash_bytes("abcdefgh", 8, 1) != glas_hash_bytes("abcdefgh", 8, 2) && glas_hash_bytes("", 0, 1) != glas_hash_bytes("\0", 1, 1));
    check(glas_hash_bytes("\0\0\0\0\0\0\0\0", 8, 1) != glas_hash_bytes("\0\0\0\0\0\0\0", 7, 1));
    glas_heap heap = memory_heap(10);
    glas_http_reply reply = {.status = 200, .content_type = GLAS_TEXT("abcdef"), .body = GLAS_TEXT("ghijkl")}, copy;
    check(!glas_type_reply.copy(&heap, &copy, &reply) && heap.used == 0);
    heap.most = 12;
    check(glas_type_reply.copy(&heap, &copy, &reply) && heap.used == 12 && glas_text_equal(copy.body, reply.body));
    glas_type_reply.drop(&heap, &copy);
    memory_end(&heap);
}

int main(void)
{
    run(test_many_keys);
    run(test_add_and_take_back);
    run(test_no_key_and_no_memory);
    run(test_ring);
    run(test_values);
    return 0;
}
