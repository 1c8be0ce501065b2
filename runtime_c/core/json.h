/* JSON for typed values: strict RFC 8259. Knows no type; generated code says what it expects next. */
#ifndef GLAS_JSON_H
#define GLAS_JSON_H

#include "mem.h"

#define GLAS_JSON_DEPTH 32

struct glas_json {
    const uint8_t *p;
    size_t n, at;
    glas_arena *arena; /* for texts with escapes */
    unsigned depth;
    uint32_t begun;    /* bit i: level i has had a member */
    bool bad;          /* malformed, or not what was expected; `at` stands there */
    bool no_memory;
};

/* Is there nothing but white space left? */
bool glas_json_at_end(glas_json *json);

/* Writes a time as RFC 3339 in UTC with microseconds; `to` holds at least GLAS_TIME_TEXT bytes. Returns the length. */
#define GLAS_TIME_TEXT 40
size_t glas_time_format(int64_t time, char *to);
/* Writes a decimal; `to` holds at least 20 bytes. Returns the length. */
size_t glas_int_format(int64_t value, char *to);

#endif
