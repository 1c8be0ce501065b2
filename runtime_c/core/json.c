/* JSON reading and writing for typed values, and the text forms of Int and Time. */
#include "json.h"

static bool misfit(glas_json *json)
{
    json->bad = true;
    return false;
}

static void skip_space(glas_json *json)
{
    while (json->at < json->n) {
        uint8_t c = json->p[json->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
        json->at++;
    }
}

static bool expect(glas_json *json, char c)
{
    skip_space(json);
    if (json->bad || json->at >= json->n || json->p[json->at] != (uint8_t)c) return misfit(json);
    json->at++;
    return true;
}

static bool word(glas_json *json, const char *literal, size_t n)
{
    skip_space(json);
    if (json->bad || json->n - json->at < n || memcmp(json->p + json->at, literal, n) != 0) return misfit(json);
    json->at += n;
    return true;
}

static bool looks_at(glas_json *json, char c)
{
    skip_space(json);
    return !json->bad && json->at < json->n && json->p[json->at] == (uint8_t)c;
}

bool glas_json_at_end(glas_json *json)
{
    skip_space(json);
    return !json->bad && json->at == json->n;
}

bool glas_json_take_null(glas_json *json) { return word(json, "null", 4); }

bool glas_json_take_bool(glas_json *json, uint8_t *value)
{
    *value = looks_at(json, 't');
    return *value ? word(json, "true", 4) : word(json, "false", 5);
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

bool glas_json_take_int(glas_json *json, int64_t *value)
{
    bool negative = looks_at(json, '-');
    if (negative) json->at++;
    else skip_space(json);
    size_t start = json->at;
    int64_t result = 0;
    while (json->at < json->n && is_digit(json->p[json->at])) {
        int64_t digit = json->p[json->at] - '0';
        if (__builtin_mul_overflow(result, 10, &result) || __builtin_sub_overflow(result, digit, &result)) return misfit(json);
        json->at++;
    }
    size_t digits = json->at - start;
    if (json->bad || digits == 0 || (digits > 1 && json->p[start] == '0')) return misfit(json);
    if (json->at < json->n && (json->p[json->at] == '.' || json->p[json->at] == 'e' || json->p[json->at] == 'E')) return misfit(json);
    if (!negative && __builtin_sub_overflow((int64_t)0, result, &result)) return misfit(json);
    *value = result; /* gathered below zero, where there is one number more */
    return true;
}

/* Four hexadecimal digits at `at`, or -1. */
static int32_t hex4(const glas_json *json, size_t at)
{
    int32_t value = 0;
    if (json->n - at < 4) return -1;
    for (size_t i = 0; i < 4; i++) {
        uint8_t c = json->p[at + i];
        int digit = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static size_t utf8_write(uint32_t code, char *to)
{
    if (code < 0x80) return to[0] = (char)code, 1;
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6) to[i] = (char)(0x80 | (code & 0x3F));
    to[0] = (char)((0xF00u >> n & 0xFF) | code);
    return n;
}

/* A \u escape whose digits begin at *at: writes it, moves *at behind it (and behind the second half of a pair). 0: malformed. */
static size_t take_unicode(const glas_json *json, size_t *at, char *to)
{
    int32_t first = hex4(json, *at);
    *at += 4;
    if (first < 0 || (first >= 0xDC00 && first <= 0xDFFF)) return 0;
    if (first < 0xD800 || first > 0xDBFF) return utf8_write((uint32_t)first, to);
    if (json->n - *at < 6 || json->p[*at] != '\\' || json->p[*at + 1] != 'u') return 0;
    int32_t second = hex4(json, *at + 2);
    *at += 6;
    if (second < 0xDC00 || second > 0xDFFF) return 0;
    return utf8_write(0x10000u + (((uint32_t)first - 0xD800u) << 10) + ((uint32_t)second - 0xDC00u), to);
}

static size_t take_escape(const glas_json *json, size_t *at, char *to)
{
    static const char from[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    if (*at >= json->n) return 0;
    uint8_t c = json->p[(*at)++];
    if (c == 'u') return take_unicode(json, at, to);
    for (size_t i = 0; i < sizeof from - 1; i++)
        if (c == (uint8_t)from[i]) return *to = plain[i], 1;
    return 0;
}

/* Takes the string whose end quote is at `end`, which has escapes, into the arena. */
static bool unescape(glas_json *json, size_t start, size_t end, glas_text *value)
{
    char *to = glas_arena_take(json->arena, end - start + 4);
    if (to == NULL) return json->no_memory = true, misfit(json);
    size_t n = 0;
    for (size_t at = start; at < end;) {
        if (json->p[at] != '\\') {
            to[n++] = (char)json->p[at++];
            continue;
        }
        at++;
        size_t wrote = take_escape(json, &at, to + n);
        if (wrote == 0 || at > end) return misfit(json);
        n += wrote;
    }
    *value = (glas_text){to, (uint32_t)n};
    return true;
}

bool glas_json_take_text(glas_json *json, glas_text *value)
{
    if (!expect(json, '"')) return false;
    size_t start = json->at;
    bool escapes = false;
    while (json->at < json->n && json->p[json->at] != '"') {
        if (json->p[json->at] < 0x20) return misfit(json);
        if (json->p[json->at] == '\\') {
            escapes = true;
            json->at++;
        }
        json->at++;
    }
    if (json->at >= json->n || json->at - start > UINT32_MAX) return misfit(json);
    size_t end = json->at++;
    if (!glas_is_utf8(json->p + start, end - start)) return misfit(json);
    if (escapes) return unescape(json, start, end, value);
    *value = (glas_text){(const char *)json->p + start, (uint32_t)(end - start)};
    return true;
}

bool glas_json_open(glas_json *json)
{
    if (json->depth >= GLAS_JSON_DEPTH) return misfit(json);
    if (!expect(json, '{')) return false;
    json->begun &= ~(UINT32_C(1) << json->depth);
    json->depth++;
    return true;
}

bool glas_json_key(glas_json *json, glas_text *key)
{
    uint32_t bit = UINT32_C(1) << (json->depth - 1);
    if (json->bad || (looks_at(json, '}'))) return false;
    if ((json->begun & bit) && !expect(json, ',')) return false;
    json->begun |= bit;
    return glas_json_take_text(json, key) && expect(json, ':');
}

bool glas_json_closed(glas_json *json)
{
    if (!expect(json, '}')) return false;
    json->depth--;
    return true;
}

int glas_json_field(glas_json *json, glas_text key, const glas_text *names, int count, uint64_t *seen)
{
    for (int i = 0; i < count; i++) {
        if (!glas_text_equal(key, names[i])) continue;
        if (*seen >> i & 1) break;
        *seen |= UINT64_C(1) << i;
        return i;
    }
    misfit(json);
    return -1;
}

/* ------------------------------------------------------------------ writing */

void glas_json_put(glas_writer *writer, const char *literal) { glas_put_bytes(writer, literal, strlen(literal)); }

void glas_json_put_bool(glas_writer *writer, uint8_t value) { glas_json_put(writer, value ? "true" : "false"); }

size_t glas_int_format(int64_t value, char *to)
{
    char digits[20];
    size_t n = 0, length = 0;
    uint64_t left = value < 0 ? ~(uint64_t)value + 1 : (uint64_t)value;
    do digits[n++] = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (value < 0) to[length++] = '-';
    while (n > 0) to[length++] = digits[--n];
    return length;
}

void glas_json_put_int(glas_writer *writer, int64_t value)
{
    char text[20];
    glas_put_bytes(writer, text, glas_int_format(value, text));
}

static void put_escaped(glas_writer *writer, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char plain[] = "\b\t\n\f\r\"\\", letter[] = "btnfr\"\\";
    for (size_t i = 0; i < sizeof plain - 1; i++) {
        if (c != (uint8_t)plain[i]) continue;
        char pair[2] = {'\\', letter[i]};
        glas_put_bytes(writer, pair, 2);
        return;
    }
    char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    glas_put_bytes(writer, escape, 6);
}

void glas_json_put_text(glas_writer *writer, glas_text value)
{
    glas_put_byte(writer, '"');
    uint32_t start = 0;
    for (uint32_t i = 0; i < value.n; i++) {
        uint8_t c = (uint8_t)value.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        glas_put_bytes(writer, value.p + start, i - start);
        put_escaped(writer, c);
        start = i + 1;
    }
    if (value.n > start) glas_put_bytes(writer, value.p + start, value.n - start);
    glas_put_byte(writer, '"');
}

/* ------------------------------------------------------------------ time */

static void two_digits(char *to, int64_t value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
}

/* Days since 1970-01-01 to year, month, day and back, after Howard Hinnant, "chrono-compatible low-level date algorithms". */
static void civil_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * of_year + 2) / 153;
    *day = of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    return era * 146097 + of_era - 719468;
}

size_t glas_time_format(int64_t time, char *to)
{
    const int64_t day_us = INT64_C(86400000000);
    int64_t days = time / day_us - (time % day_us < 0), in_day = time % day_us + (time % day_us < 0 ? day_us : 0);
    int64_t year, month, day, micros = in_day % 1000000, seconds = in_day / 1000000;
    civil_from_days(days, &year, &month, &day);
    size_t n = 0;
    if (year < 0) to[n++] = '-', year = -year;
    if (year > 9999) n += glas_int_format(year / 10000, to + n), year %= 10000;
    two_digits(to + n, year / 100), two_digits(to + n + 2, year % 100);
    to[n + 4] = '-', two_digits(to + n + 5, month), to[n + 7] = '-', two_digits(to + n + 8, day), to[n + 10] = 'T';
    two_digits(to + n + 11, seconds / 3600), to[n + 13] = ':', two_digits(to + n + 14, seconds / 60 % 60);
    to[n + 16] = ':', two_digits(to + n + 17, seconds % 60), to[n + 19] = '.';
    two_digits(to + n + 20, micros / 10000), two_digits(to + n + 22, micros / 100 % 100), two_digits(to + n + 24, micros % 100);
    to[n + 26] = 'Z';
    return n + 27;
}

void glas_json_put_time(glas_writer *writer, int64_t value)
{
    char text[GLAS_TIME_TEXT];
    size_t n = glas_time_format(value, text);
    glas_json_put_text(writer, (glas_text){text, (uint32_t)n});
}

static bool number_at(const char *p, size_t digits, int64_t low, int64_t high, int64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (!is_digit((uint8_t)p[i])) return false;
        *value = *value * 10 + (p[i] - '0');
    }
    return *value >= low && *value <= high;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* A fraction of one to six digits between the point and the Z, in microseconds. */
static bool fraction(glas_text text, int64_t *micros)
{
    *micros = 0;
    if (text.n == 20) return true;
    if (text.n < 22 || text.n > 27 || text.p[19] != '.') return false;
    if (!number_at(text.p + 20, text.n - 21, 0, 999999, micros)) return false;
    for (uint32_t digits = text.n - 21; digits < 6; digits++) *micros *= 10;
    return true;
}

static bool time_parse(glas_text text, int64_t *value)
{
    int64_t year, month, day, hour, minute, second, micros;
    if (text.n < 20 || text.p[4] != '-' || text.p[7] != '-' || text.p[10] != 'T' || text.p[13] != ':' || text.p[16] != ':') return false;
    if (text.p[text.n - 1] != 'Z' || !fraction(text, &micros)) return false;
    if (!number_at(text.p, 4, 1, 9999, &year) || !number_at(text.p + 5, 2, 1, 12, &month)) return false;
    if (!number_at(text.p + 8, 2, 1, days_in_month(year, month), &day) || !number_at(text.p + 11, 2, 0, 23, &hour)) return false;
    if (!number_at(text.p + 14, 2, 0, 59, &minute) || !number_at(text.p + 17, 2, 0, 59, &second)) return false;
    int64_t seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *value = seconds * 1000000 + micros;
    return true;
}

bool glas_json_take_time(glas_json *json, int64_t *value)
{
    glas_text text;
    if (!glas_json_take_text(json, &text)) return false;
    return time_parse(text, value) || misfit(json);
}
