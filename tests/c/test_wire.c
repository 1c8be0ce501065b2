/* Bytes: memory, varints, texts, UTF-8. */
#include "memory.h"

static void takes(const char *bytes, size_t n, uint64_t most, bool ok, uint64_t expected)
{
    uint8_t *copy = malloc(n == 0 ? 1 : n);
    memcpy(copy, bytes, n);
    glas_reader reader = glas_reader_over(copy, n);
    uint64_t value = 0;
    check(glas_take_uint(&reader, most, &value) == ok);
    check(reader.bad == !ok);
    if (ok) check(value == expected && reader.at == n);
    else check(reader.at == 0 && !glas_take_uint(&reader, UINT64_MAX, &value));
    free(copy);
}

static void test_varints(void)
{
    glas_heap heap = memory_heap(1 << 20);
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t top = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1, values[] = {top, top / 2 + 1, top - (top != 0)};
        for (unsigned i = 0; i < 3; i++) {
            glas_writer writer = {.heap = &heap, .most = 100};
            glas_put_uint(&writer, values[i]);
            size_t length = 1;
            for (uint64_t left = values[i] >> 7; left != 0; left >>= 7) length++;
            check(writer.n == length);
            takes((char *)writer.p, writer.n, UINT64_MAX, true, values[i]);
            if (values[i] > 0) takes((char *)writer.p, writer.n, values[i] - 1, false, 0);
            takes((char *)writer.p, writer.n, values[i], true, values[i]);
            for (size_t cut = 0; cut < writer.n; cut++) takes((char *)writer.p, cut, UINT64_MAX, false, 0);
            glas_reader trailing = glas_reader_over(writer.p, writer.n);
            int64_t number, again;
            writer.n = 0;
            glas_put_int(&writer, (int64_t)values[i]);
            glas_put_int(&writer, -(int64_t)(values[i] / 2) - 1);
            trailing = glas_reader_over(writer.p, writer.n);
            check(glas_take_int(&trailing, &number) && number == (int64_t)values[i] && trailing.at < writer.n);
            check(glas_take_int(&trailing, &again) && again == -(int64_t)(values[i] / 2) - 1 && trailing.at == writer.n);
            glas_writer_close(&writer);
        }
    }
    memory_end(&heap);
}

static void test_varints_refused(void)
{
    takes("", 0, UINT64_MAX, false, 0);
    takes("\x80\x00", 2, UINT64_MAX, false, 0); /* not the shortest form of 0 */
    takes("\xFF\x00", 2, UINT64_MAX, false, 0);
    takes("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10, UINT64_MAX, false, 0);
    takes("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 10, UINT64_MAX, true, UINT64_MAX);
    takes("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 10, UINT64_MAX, false, 0); /* beyond 64 bits */
    takes("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x81\x00", 11, UINT64_MAX, false, 0);
    takes("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 11, UINT64_MAX, false, 0);
    uint8_t value;
    glas_reader two = glas_reader_over("\x02", 1);
    check(!glas_take_bool(&two, &value) && two.bad);
}

static void test_times_and_texts(void)
{
    static const int64_t times[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_C(1700000000000000)};
    glas_heap heap = memory_heap(1 << 20);
    for (unsigned i = 0; i < 6; i++)
        for (unsigned k = 0; k < 6; k++) {
            glas_writer writer = {.heap = &heap, .most = 100, .base_time = times[i]};
            glas_put_time(&writer, times[k]);
            glas_put_u64(&writer, (uint64_t)times[k]);
            glas_put_text(&writer, GLAS_TEXT("gl\xC3\xA4s"));
            glas_put_text(&writer, (glas_text){NULL, 0});
            glas_reader reader = glas_reader_over(writer.p, writer.n);
            reader.base_time = times[i];
            int64_t time;
            uint64_t same;
            glas_text text, empty;
            check(glas_take_time(&reader, &time) && time == times[k] && glas_take_u64(&reader, &same) && same == (uint64_t)times[k]);
            check(glas_take_text(&reader, &text) && glas_text_equal(text, GLAS_TEXT("gl\xC3\xA4s")) && glas_take_text(&reader, &empty) && empty.n == 0);
            check(reader.at == reader.n);
            glas_writer_close(&writer);
        }
    memory_end(&heap);
    glas_text text;
    glas_reader cut = glas_reader_over("\x05glas", 5), bad = glas_reader_over("\x01\xFF", 2), huge = glas_reader_over("\xFF\xFF\xFF\xFF\x0F", 5);
    check(!glas_take_text(&cut, &text) && !glas_take_text(&bad, &text) && bad.at == 0 && !glas_take_text(&huge, &text));
}

static bool utf8(const char *bytes) { return glas_is_utf8((const uint8_t *)bytes, strlen(bytes)); }

static void test_utf8(void)
{
    static const char *const good[] = {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF",
                                       "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "a\xE2\x82\xAC z"};
    static const char *const bad[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x7F", "\xC2\xC0", "\xE0\x9F\xBF", "\xE0\xA0", "\xE1\x80\x7F",
                                      "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x90\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                                      "\xFE", "a\x80", "\xE2\x82\xAC\xAC", "\xF8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) check(utf8(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check(!utf8(bad[i]));
    unsigned count = 0; /* every sequence of up to three bytes, against the number of code points that have one */
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) count += glas_is_utf8((uint8_t[]){(uint8_t)a, (uint8_t)b}, 2);
    check(count == 128 * 128 + (0x800 - 0x80));
    count = 0;
    for (unsigned a = 0xE0; a < 0xF0; a++)
        for (unsigned b = 0; b < 256; b++)
            for (unsigned c = 0; c < 256; c++) count += glas_is_utf8((uint8_t[]){(uint8_t)a, (uint8_t)b, (uint8_t)c}, 3);
    check(count == 0x10000 - 0x800 - 0x800);
}

static void test_bounds(void)
{
    glas_heap heap = memory_heap(200);
    glas_writer writer = {.heap = &heap, .most = 70};
    char bytes[71] = {0};
    glas_put_bytes(&writer, bytes, 70);
    check(!writer.failed && writer.n == 70);
    glas_put_byte(&writer, 1);
    check(writer.failed && writer.n == 70);
    glas_put_bytes(&writer, bytes, 0);
    check(writer.failed);
    glas_writer_close(&writer);
    check(!writer.failed && heap.used == 0);
    check(glas_heap_resize(&heap, NULL, 0, 201) == NULL && heap.used == 0);
    void *block = glas_heap_resize(&heap, NULL, 0, 200);
    check(block != NULL && glas_heap_resize(&heap, block, 200, 201) == NULL && heap.used == 200);
    check(glas_heap_resize(&heap, block, 200, 0) == NULL && heap.used == 0);
    glas_arena arena = {.heap = &heap};
    check(glas_arena_take(&arena, SIZE_MAX) == NULL && glas_arena_take(&arena, 100) == NULL);
    heap.most = 1 << 20;
    for (size_t n = 0; n < 300; n++) {
        char *p = glas_arena_take(&arena, n * 70);
        check(p != NULL && (uintptr_t)p % 16 == 0);
        memset(p, 1, n * 70);
        if (n % 50 == 49) glas_arena_reset(&arena);
    }
    glas_arena_close(&arena);
    memory_end(&heap);
}

/* What fits is written, though twice as much would not fit: in memory, or in what the writer may hold. */
static void test_growth_near_the_bounds(void)
{
    static const uint8_t bytes[600];
    glas_heap heap = memory_heap(1000);
    glas_writer writer = {.heap = &heap, .most = 1000};
    glas_put_bytes(&writer, bytes, 600);
    glas_put_bytes(&writer, bytes, 300); /* 900 of 1000 */
    check(!writer.failed && writer.n == 900 && heap.used <= 1000);
    glas_put_bytes(&writer, bytes, 101);
    check(writer.failed && writer.n == 900);
    glas_writer_close(&writer);
    writer.most = 700;
    heap.most = 1 << 20;
    glas_put_bytes(&writer, bytes, 600);
    glas_put_bytes(&writer, bytes, 100);
    check(!writer.failed && writer.n == 700 && writer.capacity == 700); /* and holds no more than it may */
    glas_put_byte(&writer, 0);
    check(writer.failed);
    glas_writer_close(&writer);
    memory_end(&heap);
}

int main(void)
{
    run(test_varints);
    run(test_varints_refused);
    run(test_times_and_texts);
    run(test_utf8);
    run(test_bounds);
    run(test_growth_near_the_bounds);
    return 0;
}
