/* JSON in and out, against RFC 8259; decimals and times. */
#include "json.h"
#include "memory.h"

static glas_heap heap;
static glas_arena arena;

/* The text in its own block, without an end mark, so that reading beyond it is seen. */
static glas_json over(const char *text, size_t n, void **block)
{
    *block = malloc(n == 0 ? 1 : n);
    memcpy(*block, text, n);
    return (glas_json){.p = *block, .n = n, .arena = &arena};
}

static bool text_is(const char *json, size_t n, const char *expected, size_t expected_n)
{
    void *block;
    glas_json it = over(json, n, &block);
    glas_text text = {NULL, 0};
    bool ok = glas_json_take_text(&it, &text) && glas_json_at_end(&it);
    if (expected == NULL) ok = !ok && it.at <= n + 8;
    else ok = ok && glas_text_equal(text, (glas_text){expected, (uint32_t)expected_n});
    free(block);
    return ok;
}
#define TEXT(json, expected) text_is(json, sizeof(json) - 1, expected, sizeof(expected) - 1)
#define NO_TEXT(json) text_is(json, sizeof(json) - 1, NULL, 0)

static void test_texts(void)
{
    check(TEXT("\"\"", "") && TEXT(" \t\r\n\"a\" ", "a") && TEXT("\"\xC3\xA4\"", "\xC3\xA4") && TEXT("\"\x7F\"", "\x7F"));
    check(TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"));
    check(TEXT("\"\\u0041\\u00e4\\u20AC\"", "A\xC3\xA4\xE2\x82\xAC") && TEXT("\"\\u0000\"", "\0") && TEXT("\"\\uFFFF\"", "\xEF\xBF\xBF"));
    check(TEXT("\"\\u007f\\u0080\\u07ff\\u0800\"", "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80"));
    check(TEXT("\"\\uD83D\\uDE00\"", "\xF0\x9F\x98\x80") && TEXT("\"\\uDBFF\\uDFFF\"", "\xF4\x8F\xBF\xBF") && TEXT("\"\\uD800\\uDC00\"", "\xF0\x90\x80\x80"));
    check(NO_TEXT("\"\\uD83D\"") && NO_TEXT("\"\\uDE00\"") && NO_TEXT("\"\\uD83D\\uD83D\"") && NO_TEXT("\"\\uD83Dx\"") && NO_TEXT("\"\\uD83D\\n\""));
    check(NO_TEXT("\"\\u12\"") && NO_TEXT("\"\\u12G4\"") && NO_TEXT("\"\\x41\"") && NO_TEXT("\"\\") && NO_TEXT("\"\\\"") && NO_TEXT("\"\\u") && NO_TEXT("\"\\u\""));
    check(NO_TEXT("") && NO_TEXT("\"") && NO_TEXT("\"a") && NO_TEXT("a") && NO_TEXT("'a'") && NO_TEXT("\"a\"b") && NO_TEXT("\"a\" \"b\""));
    check(NO_TEXT("\"\n\"") && NO_TEXT("\"\t\"") && NO_TEXT("\"\x1F\"") && NO_TEXT("\"\0\"") && NO_TEXT("\"\x80\"") && NO_TEXT("\"\xED\xA0\x80\""));
    check(NO_TEXT("\f\"a\"") && NO_TEXT("\xEF\xBB\xBF\"a\""));
}

static bool int_is(const char *json, bool ok, int64_t expected)
{
    void *block;
    glas_json it = over(json, strlen(json), &block);
    int64_t value = 0;
    bool got = glas_json_take_int(&it, &value) && glas_json_at_end(&it);
    free(block);
    return got == ok && (!ok || value == expected);
}

static void test_ints(void)
{
    check(int_is("0", true, 0) && int_is("-0", true, 0) && int_is(" 12 ", true, 12) && int_is("-12", true, -12));
    check(int_is("9223372036854775807", true, INT64_MAX) && int_is("-9223372036854775808", true, INT64_MIN));
    check(int_is("9223372036854775808", false, 0) && int_is("-9223372036854775809", false, 0) && int_is("99999999999999999999999", false, 0));
    static const char *const bad[] = {"", "-", "+1", "01", "-01", "00", "1.0", "1.", ".1", "1e3", "1E3", "1e", "0x1", "1 2", "- 1", "1a", "NaN", "\"1\"", "null", "1,"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check(int_is(bad[i], false, 0));
}

static void test_words(void)
{
    static const char *const bad[] = {"", "t", "tru", "True", "truex", "1", "nul", "falsefalse"};
    uint8_t value;
    void *block;
    glas_json yes = over(" true ", 6, &block);
    check(glas_json_take_bool(&yes, &value) && value == 1 && glas_json_at_end(&yes));
    free(block);
    yes = over("false", 5, &block);
    check(glas_json_take_bool(&yes, &value) && value == 0 && glas_json_at_end(&yes));
    free(block);
    yes = over("null", 4, &block);
    check(glas_json_take_null(&yes) && glas_json_at_end(&yes));
    free(block);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        glas_json no = over(bad[i], strlen(bad[i]), &block);
        check(!(glas_json_take_bool(&no, &value) && glas_json_at_end(&no)));
        no = (glas_json){.p = block, .n = strlen(bad[i])};
        check(!(glas_json_take_null(&no) && glas_json_at_end(&no)));
        free(block);
    }
}

/* An object of "a" and "b", both Int and both wanted. */
static bool takes_record(const char *json)
{
    static const glas_text names[] = {{"a", 1}, {"b", 1}};
    void *block;
    glas_json it = over(json, strlen(json), &block);
    glas_text key;
    uint64_t seen = 0;
    int64_t value;
    bool ok = glas_json_open(&it);
    while (ok && glas_json_key(&it, &key)) ok = glas_json_field(&it, key, names, 2, &seen) >= 0 && glas_json_take_int(&it, &value);
    ok = ok && glas_json_closed(&it) && glas_json_at_end(&it) && seen == 3;
    free(block);
    return ok;
}

static void test_records(void)
{
    check(takes_record("{\"a\":1,\"b\":2}") && takes_record(" { \"b\" : 2 , \"a\" : 1 } ") && takes_record("{\"\\u0061\":1,\"b\":2}"));
    static const char *const bad[] = {"", "{", "{}", "{\"a\":1}", "{\"a\":1,}", "{\"a\":1,\"b\":2,}", "{,\"a\":1,\"b\":2}", "{\"a\":1 \"b\":2}", "{\"a\":1,\"a\":1}",
                                      "{\"a\":1,\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2,\"c\":3}", "{\"a\",\"b\"}", "{\"a\":1,\"b\":2}}", "{\"a\":1,\"b\":2", "{a:1,b:2}",
                                      "{\"a\":1;\"b\":2}", "[\"a\"]", "{\"a\":1,,\"b\":2}", "{\"a\":1,\"b\":}", "{\"a\"1,\"b\":2}", "{\"a\":1,\"b\":2}x", "{:1}", "{\"a\":1,"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check(!takes_record(bad[i]));
}

static bool nests(unsigned levels)
{
    char text[1000];
    size_t n = 0;
    for (unsigned i = 0; i < levels; i++) n += (size_t)sprintf(text + n, "{\"a\":");
    text[n++] = '1';
    for (unsigned i = 0; i < levels; i++) text[n++] = '}';
    void *block;
    glas_json it = over(text, n, &block);
    glas_text key;
    int64_t value;
    bool ok = true;
    for (unsigned i = 0; ok && i < levels; i++) ok = glas_json_open(&it) && glas_json_key(&it, &key);
    ok = ok && glas_json_take_int(&it, &value);
    for (unsigned i = 0; ok && i < levels; i++) ok = !glas_json_key(&it, &key) && glas_json_closed(&it);
    ok = ok && glas_json_at_end(&it);
    free(block);
    return ok;
}

static void test_depth(void)
{
    check(nests(1) && nests(31) && nests(32) && !nests(33) && !nests(34));
}

/* What is written is read as what it was. */
static void test_round_trips(void)
{
    static const glas_text texts[] = {{NULL, 0}, {"a\0b", 3}, {"\"\\\b\f\n\r\t\x1f\x7f", 9}, {"\xF0\x9F\x98\x80", 4}};
    static const int64_t numbers[] = {0, 9, -1, INT64_MAX, INT64_MIN, -10, 100};
    glas_writer writer = {.heap = &heap, .most = 1000};
    for (size_t i = 0; i < 4; i++) {
        writer.n = 0;
        glas_json_put_text(&writer, texts[i]);
        check(text_is((char *)writer.p, writer.n, texts[i].n == 0 ? "" : texts[i].p, texts[i].n));
    }
    for (size_t i = 0; i < 7; i++) {
        char digits[32];
        writer.n = 0;
        glas_json_put_int(&writer, numbers[i]);
        glas_put_byte(&writer, 0);
        snprintf(digits, sizeof digits, "%lld", (long long)numbers[i]);
        check(strcmp((char *)writer.p, digits) == 0 && int_is(digits, true, numbers[i]));
    }
    glas_writer_close(&writer);
}

/* ------------------------------------------------------------------ times */

static bool time_of(const char *text, int64_t *value)
{
    char json[80];
    snprintf(json, sizeof json, "\"%s\"", text);
    void *block;
    glas_json it = over(json, strlen(json), &block);
    bool ok = glas_json_take_time(&it, value) && glas_json_at_end(&it);
    free(block);
    return ok;
}

static bool time_is(const char *text, int64_t expected)
{
    int64_t value;
    return time_of(text, &value) && value == expected;
}

static void test_times(void)
{
    check(time_is("1970-01-01T00:00:00Z", 0) && time_is("1970-01-01T00:00:00.000001Z", 1) && time_is("1970-01-01T00:00:00.1Z", 100000));
    check(time_is("1969-12-31T23:59:59.999999Z", -1) && time_is("2000-02-29T12:30:45.5Z", INT64_C(951827445500000)));
    check(time_is("2023-11-14T22:13:20Z", INT64_C(1700000000000000)) && time_is("0001-01-01T00:00:00Z", INT64_C(-62135596800000000)));
    check(time_is("9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)) && time_is("2024-02-29T00:00:00Z", INT64_C(1709164800000000)));
    static const char *const bad[] = {"", "0000-01-01T00:00:00Z", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01t00:00:00Z", "1970-01-01T00:00:00z", "1970-01-01 00:00:00Z",
                                      "1970-1-01T00:00:00Z", "1970-00-01T00:00:00Z", "1970-13-01T00:00:00Z", "1970-01-00T00:00:00Z", "1970-01-32T00:00:00Z",
                                      "1970-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2024-02-30T00:00:00Z", "2024-04-31T00:00:00Z",
                                      "1970-01-01T24:00:00Z", "1970-01-01T00:60:00Z", "1970-01-01T00:00:60Z", "1970-01-01T00:00:00.Z",
                                      "1970-01-01T00:00:00.1234567Z", "1970-01-01T00:00:00+00:00", "+970-01-01T00:00:00Z", "1970-01-01T00:00:00,5Z",
                                      "1970-01-01T00:00:00ZZ", "1970/01/01T00:00:00Z", "1970-01-01T00:00:00.-1Z", " 1970-01-01T00:00:00Z"};
    int64_t value;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check(!time_of(bad[i], &value));
}

static void test_time_round_trips(void)
{
    const int64_t first = INT64_C(-62135596800000000), last = INT64_C(253402300799999999);
    unsigned long long random = 1;
    char text[GLAS_TIME_TEXT + 1];
    for (int64_t day = first; day < last; day += INT64_C(86400000000) * 13 + 12345678) {
        text[glas_time_format(day, text)] = 0;
        check(time_is(text, day));
    }
    for (int i = 0; i < 20000; i++) {
        int64_t time = first + (int64_t)(check_random(&random) % (uint64_t)(last - first));
        text[glas_time_format(time, text)] = 0;
        check(time_is(text, time));
    }
    /* Beyond four digits of a year there is a text, though no RFC 3339 text. */
    check(glas_time_format(INT64_MAX, text) <= GLAS_TIME_TEXT && memcmp(text, "294247-01-10T04:00:54.775807Z", 29) == 0);
    check(glas_time_format(INT64_MIN, text) <= GLAS_TIME_TEXT && memcmp(text, "-290308-12-21T19:59:05.224192Z", 30) == 0);
}

int main(void)
{
    heap = memory_heap(1 << 24);
    arena.heap = &heap;
    run(test_texts);
    run(test_ints);
    run(test_words);
    run(test_records);
    run(test_depth);
    run(test_round_trips);
    run(test_times);
    run(test_time_round_trips);
    glas_arena_close(&arena);
    memory_end(&heap);
    return 0;
}
