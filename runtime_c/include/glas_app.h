/* Between generated C and the core: what an app is (tables) and what its methods may call.
 *
 * Not for drivers: they need glas_core.h only. Everything fallible returns a glas_status; generated code passes on what it does not
 * catch. Values are C structs; texts in them are borrowed: from state (until the transaction ends, also when overwritten), from the
 * transaction's arena, from arguments, or constant.
 */
#ifndef GLAS_APP_H
#define GLAS_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "glas_core.h"

/* Generated code names the interface it was made for, so that another core refuses it when compiling. */
#define GLAS_APP_INTERFACE 1

#define GLAS_MAX_STATES 256 /* of one app; the compiler reports more */
#define GLAS_MASK_WORDS (GLAS_MAX_STATES / 64)
#define GLAS_MAX_RESULT 1024 /* bytes of a method's C argument or result record; the compiler reports more */

typedef enum glas_status {
    GLAS_OK = 0,
    GLAS_FAIL, /* `fail` and its kin: an Attempt catches it */
    GLAS_WAIT, /* nothing here yet: caught only directly behind a queue read or a choose */
    GLAS_MISS, /* needs a unit that another mirror owns: never caught */
    GLAS_ERROR /* overflow, assertion, memory: never caught */
} glas_status;

typedef struct glas_txn glas_txn;       /* the running transaction */
typedef struct glas_heap glas_heap;     /* the given allocator, counted */
typedef struct glas_writer glas_writer; /* bytes being written */
typedef struct glas_reader glas_reader; /* bytes being read */
typedef struct glas_json glas_json;     /* JSON being read */

/* ------------------------------------------------------------------ values */

typedef struct glas_text {
    const char *p; /* UTF-8, not terminated; may be NULL where n is 0 */
    uint32_t n;
} glas_text;

#define GLAS_TEXT(literal) ((glas_text){(literal), (uint32_t)(sizeof(literal) - 1)})

typedef struct glas_unit {
    uint8_t nothing; /* always 0 */
} glas_unit;

/* The value of the type Reply. */
typedef struct glas_http_reply {
    int64_t status;
    glas_text content_type;
    glas_text body;
} glas_http_reply;

/* A type of values. The default value is all bits zero: 0, "", false, the epoch, the first label. Bool is uint8_t, Int and Time int64_t. */
typedef struct glas_type {
    const char *name;
    uint32_t size;
    bool plain; /* holds no text: copied by memcpy, nothing to drop */
    uint64_t (*hash)(const void *value, uint64_t seed);
    bool (*equal)(const void *a, const void *b);
    int (*compare)(const void *a, const void *b);                 /* total order: fields in order, labels in order, texts bytewise */
    bool (*copy)(glas_heap *heap, void *to, const void *from);    /* deep; false: out of memory, and nothing is held */
    void (*drop)(glas_heap *heap, void *value);                   /* gives back what copy took */
    void (*put)(glas_writer *writer, const void *value);          /* wire and journal form */
    bool (*take)(glas_reader *reader, void *value);               /* false: malformed (the reader knows where); texts borrow from the bytes */
    void (*to_json)(glas_writer *writer, const void *value);
    bool (*from_json)(glas_json *json, void *value);              /* false: malformed or does not fit */
} glas_type;

extern const glas_type glas_type_bool, glas_type_int, glas_type_text, glas_type_time, glas_type_unit, glas_type_reply;

/* Pieces that generated type functions are made of. */
static inline bool glas_text_equal(glas_text a, glas_text b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }
int glas_text_compare(glas_text a, glas_text b);
uint64_t glas_hash_bytes(const void *bytes, size_t n, uint64_t seed);
static inline uint64_t glas_hash_int(uint64_t value, uint64_t seed)
{
    uint64_t x = (value ^ seed) * UINT64_C(0x9E3779B97F4A7C15);
    x ^= x >> 32;
    x *= UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 32);
}
static inline uint64_t glas_hash_text(glas_text text, uint64_t seed) { return glas_hash_bytes(text.p, text.n, seed); }
static inline int glas_int_compare(int64_t a, int64_t b) { return a < b ? -1 : a > b; }
bool glas_copy_text(glas_heap *heap, glas_text *to, glas_text from);
void glas_drop_text(glas_heap *heap, glas_text *text);

/* Wire pieces. Int: zigzag varint. Bool: a byte. Text: varint length, bytes. Time: zigzag varint of its distance from the base time that
 * writer and reader share (the entry's or message's own time). A label: varint of its number. */
void glas_put_bool(glas_writer *writer, uint8_t value);
void glas_put_int(glas_writer *writer, int64_t value);
void glas_put_uint(glas_writer *writer, uint64_t value);
void glas_put_text(glas_writer *writer, glas_text value);
void glas_put_time(glas_writer *writer, int64_t value);
bool glas_take_bool(glas_reader *reader, uint8_t *value);
bool glas_take_int(glas_reader *reader, int64_t *value);
bool glas_take_uint(glas_reader *reader, uint64_t most, uint64_t *value); /* false beyond `most` */
bool glas_take_text(glas_reader *reader, glas_text *value);               /* false for bad UTF-8 too */
bool glas_take_time(glas_reader *reader, int64_t *value);

/* JSON pieces. Strict RFC 8259, at most 32 levels, no duplicate keys, Int only as plain integers within 64 bits, Time as RFC 3339. */
void glas_json_put(glas_writer *writer, const char *literal); /* as it stands, e.g. "{\"shop\":" */
void glas_json_put_bool(glas_writer *writer, uint8_t value);
void glas_json_put_int(glas_writer *writer, int64_t value);
void glas_json_put_text(glas_writer *writer, glas_text value);
void glas_json_put_time(glas_writer *writer, int64_t value);
bool glas_json_take_bool(glas_json *json, uint8_t *value);
bool glas_json_take_int(glas_json *json, int64_t *value);
bool glas_json_take_text(glas_json *json, glas_text *value);
bool glas_json_take_time(glas_json *json, int64_t *value);
bool glas_json_take_null(glas_json *json);
/* An object: `open`, then `key` until it returns false, then `closed` says whether all was well. After each true `key` one value is taken. */
bool glas_json_open(glas_json *json);
bool glas_json_key(glas_json *json, glas_text *key);
bool glas_json_closed(glas_json *json);
/* For a record: number of `key` among `names` (each once only, by the bits of `seen`), or -1: unknown or repeated, and the reader is in error. */
int glas_json_field(glas_json *json, glas_text key, const glas_text *names, int count, uint64_t *seen);

/* ------------------------------------------------------------------ what a method may call */

/* A place in the program, for messages: "pos.glas:54:31". */
typedef const char *glas_where;

glas_status glas_error(glas_txn *txn, glas_where where, glas_text message); /* always GLAS_ERROR */
glas_status glas_overflow(glas_txn *txn, glas_where where, int64_t a, char op, int64_t b);

static inline glas_status glas_add(glas_txn *txn, int64_t a, int64_t b, int64_t *result, glas_where where)
{
    return __builtin_add_overflow(a, b, result) ? glas_overflow(txn, where, a, '+', b) : GLAS_OK;
}
static inline glas_status glas_sub(glas_txn *txn, int64_t a, int64_t b, int64_t *result, glas_where where)
{
    return __builtin_sub_overflow(a, b, result) ? glas_overflow(txn, where, a, '-', b) : GLAS_OK;
}
static inline glas_status glas_mul(glas_txn *txn, int64_t a, int64_t b, int64_t *result, glas_where where)
{
    return __builtin_mul_overflow(a, b, result) ? glas_overflow(txn, where, a, '*', b) : GLAS_OK;
}
glas_status glas_div(glas_txn *txn, int64_t a, int64_t b, int64_t *result, glas_where where); /* toward zero; by zero: error */
glas_status glas_rem(glas_txn *txn, int64_t a, int64_t b, int64_t *result, glas_where where); /* sign of the dividend */

/* Texts made in the transaction's arena. */
glas_status glas_join(glas_txn *txn, const glas_text *parts, size_t count, glas_text *result);
glas_status glas_int_to_text(glas_txn *txn, int64_t value, glas_text *result);
glas_status glas_bool_to_text(glas_txn *txn, uint8_t value, glas_text *result);
glas_status glas_time_to_text(glas_txn *txn, int64_t value, glas_text *result);
glas_status glas_json_write(glas_txn *txn, const glas_type *type, const void *value, glas_text *result);
glas_status glas_json_read(glas_txn *txn, const glas_type *type, glas_text text, void *result); /* FAIL where it does not fit */

/* State; `state` is the index in the app's table, values and keys are of its types. */
glas_status glas_cell_get(glas_txn *txn, uint32_t state, void *value);
glas_status glas_cell_set(glas_txn *txn, uint32_t state, const void *value);
glas_status glas_row_get(glas_txn *txn, uint32_t state, const void *key, void *value); /* FAIL: its owner has none */
glas_status glas_row_set(glas_txn *txn, uint32_t state, const void *key, const void *value);
glas_status glas_counter_get(glas_txn *txn, uint32_t state, const void *key, int64_t *value, glas_where where); /* key NULL if no dict */
glas_status glas_counter_add(glas_txn *txn, uint32_t state, const void *key, int64_t delta, glas_where where);
glas_status glas_bounded_get(glas_txn *txn, uint32_t state, const void *key, int64_t *value, glas_where where);
glas_status glas_bounded_add(glas_txn *txn, uint32_t state, const void *key, int64_t delta, glas_where where); /* FAIL: too few rights */
glas_status glas_queue_read(glas_txn *txn, uint32_t state, void *value); /* WAIT: empty */
glas_status glas_queue_write(glas_txn *txn, uint32_t state, const void *value);

/* Rows of a dict in key order. `next` returns false at the end; the pointers are to borrowed values. */
typedef struct glas_rows {
    const void *const *order;
    uint32_t count, next, state;
    glas_txn *txn;
} glas_rows;
glas_status glas_rows_begin(glas_txn *txn, uint32_t state, glas_rows *rows);
bool glas_rows_next(glas_rows *rows, void *key, void *value);

/* Rows owned here, starting behind the one that this choose (`site`, numbered over the app) last took; each at most once. */
typedef struct glas_choice {
    uint32_t state, site, next, left;
    glas_txn *txn;
} glas_choice;
glas_status glas_choose_begin(glas_txn *txn, uint32_t state, uint32_t site, glas_choice *choice);
bool glas_choose_next(glas_choice *choice, void *key, void *value);
void glas_choose_take(glas_choice *choice); /* the row given last is the one */

/* Undo: `save` before an attempt that writes, `undo` where it failed. */
typedef struct glas_mark {
    uint32_t undo, effects, logs;
} glas_mark;
glas_mark glas_save(glas_txn *txn);
void glas_undo(glas_txn *txn, glas_mark mark);

glas_text glas_mirror_name(glas_txn *txn); /* of the mirror where the transaction started */
int64_t glas_now(glas_txn *txn);
glas_status glas_request_body(glas_txn *txn, glas_text *body);
glas_status glas_log(glas_txn *txn, glas_text line);

/* ------------------------------------------------------------------ what an app is */

typedef enum glas_kind { GLAS_CELL = 0, GLAS_DICT, GLAS_QUEUE, GLAS_COUNTER, GLAS_BOUNDED, GLAS_DICT_COUNTER, GLAS_DICT_BOUNDED } glas_kind;
typedef enum glas_owner_rule { GLAS_AT_PLACE = 0, GLAS_BY_KEY, GLAS_AT_ORIGIN, GLAS_OWNERLESS } glas_owner_rule;

typedef struct glas_state_info {
    const char *name; /* "db.stock" */
    glas_kind kind;
    bool persistent;
    glas_owner_rule rule; /* of a queue: of its read end */
    uint32_t place;       /* of AT_PLACE and BY_KEY */
    glas_text (*owner_name)(const void *key); /* of BY_KEY: the name that the key gives; the origin owns what names no mirror of the place */
    int64_t stale_us;     /* of `@mirror stale D`: others hold replicas, at most so old; 0: none */
    const glas_type *key; /* of dicts, else NULL */
    const glas_type *value; /* of cells, dicts of values, queues; else NULL */
} glas_state_info;

typedef enum glas_method_kind { GLAS_START = 0, GLAS_STEP, GLAS_RPC_METHOD, GLAS_HTTP_METHOD, GLAS_INVARIANT } glas_method_kind;

typedef struct glas_segment {
    glas_text text;
    bool parameter;
} glas_segment;

/* One state that a method may change: entries carry their changes in this order. */
typedef struct glas_effect {
    uint16_t state;
    bool once; /* at most one change to it in one run: no count is sent */
    bool take; /* of a queue: items taken from its read end (else: items written) */
} glas_effect;

typedef struct glas_method_info {
    const char *name;  /* "sell" */
    const char *title; /* "rpc sell", for people */
    glas_method_kind kind;
    glas_status (*run)(glas_txn *txn, const void *args, void *result);
    const glas_type *args;   /* a record; size 0 is not used: an empty record is glas_type_unit */
    const glas_type *result; /* glas_type_reply for http */
    const char *verb;        /* of http */
    const glas_segment *path; /* of http; the arguments are the parameters' texts in order: an array of glas_text */
    uint32_t path_count;
    const uint16_t *needs; /* states with one static owner that every run needs here */
    uint32_t needs_count;
    const glas_effect *effects;
    uint32_t effect_count; /* at most 64 */
    uint64_t reads[GLAS_MASK_WORDS]; /* states whose change can make a run that failed or waited go otherwise */
} glas_method_info;

struct glas_app {
    uint32_t interface; /* GLAS_APP_INTERFACE */
    const char *name;
    const char *version;
    uint8_t protocol_id[16];
    const char *plan; /* JSON, for GLAS_IN_INSPECT "plan" */
    const char *const *places;
    const bool *place_many;
    uint32_t place_count; /* at most 64 */
    const glas_state_info *states;
    uint32_t state_count;
    const glas_method_info *methods;
    uint32_t method_count;
    uint32_t choose_sites;
};

#endif
