/* The built-in types, and the pieces that generated types are made of: hashing, comparing, copying. */
#include "json.h"
#include "mem.h"

static uint64_t load4(const uint8_t *p) { return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24; }

/* All of up to seven bytes, overlapping, with no loop. */
static uint64_t load_tail(const uint8_t *p, size_t n)
{
    if (n >= 4) return load4(p) | load4(p + n - 4) << 32;
    return n == 0 ? 0 : (uint64_t)p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16;
}

static uint64_t load8(const uint8_t *p)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t value;
    memcpy(&value, p, 8);
    return value;
#else
    return load4(p) | load4(p + 4) << 32;
#endif
}

/* Multiply and fold, after the mixing step of wyhash (Wang Yi, 2019, public domain); seeded, so callers cannot aim collisions. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t glas_hash_bytes(const void *bytes, size_t n, uint64_t seed)
{
    const uint8_t *p = bytes;
    uint64_t state = seed ^ UINT64_C(0xA0761D6478BD642F);
    size_t left = n;
    for (; left >= 8; left -= 8, p += 8) state = mix(state ^ load8(p), UINT64_C(0xE7037ED1A0B428DB));
    return mix(state ^ load_tail(p, left) ^ (uint64_t)n << 56, UINT64_C(0x8EBC6AF09C88C6E3) ^ (uint64_t)n);
}

int glas_text_compare(glas_text a, glas_text b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return order != 0 ? order : a.n < b.n ? -1 : a.n > b.n;
}

bool glas_copy_text(glas_heap *heap, glas_text *to, glas_text from)
{
    *to = (glas_text){NULL, 0};
    if (from.n == 0) return true;
    char *copy = glas_heap_resize(heap, NULL, 0, from.n);
    if (copy == NULL) return false;
    memcpy(copy, from.p, from.n);
    *to = (glas_text){copy, from.n};
    return true;
}

void glas_drop_text(glas_heap *heap, glas_text *text)
{
    if (text->n != 0) glas_heap_resize(heap, (void *)(uintptr_t)text->p, text->n, 0);
    *text = (glas_text){NULL, 0};
}

static uint64_t hash_bool(const void *v, uint64_t seed) { return glas_hash_int(*(const uint8_t *)v, seed); }
static bool equal_bool(const void *a, const void *b) { return *(const uint8_t *)a == *(const uint8_t *)b; }
static int compare_bool(const void *a, const void *b) { return *(const uint8_t *)a - *(const uint8_t *)b; }
static void put_bool(glas_writer *w, const void *v) { glas_put_bool(w, *(const uint8_t *)v); }
static bool take_bool(glas_reader *r, void *v) { return glas_take_bool(r, v); }
static void to_json_bool(glas_writer *w, const void *v) { glas_json_put_bool(w, *(const uint8_t *)v); }
static bool from_json_bool(glas_json *j, void *v) { return glas_json_take_bool(j, v); }

static uint64_t hash_int(const void *v, uint64_t seed) { return glas_hash_int((uint64_t) * (const int64_t *)v, seed); }
static bool equal_int(const void *a, const void *b) { return *(const int64_t *)a == *(const int64_t *)b; }
static int compare_int(const void *a, const void *b) { return glas_int_compare(*(const int64_t *)a, *(const int64_t *)b); }
static void put_int(glas_writer *w, const void *v) { glas_put_int(w, *(const int64_t *)v); }
static bool take_int(glas_reader *r, void *v) { return glas_take_int(r, v); }
static void to_json_int(glas_writer *w, const void *v) { glas_json_put_int(w, *(const int64_t *)v); }
static bool from_json_int(glas_json *j, void *v) { return glas_json_take_int(j, v); }

static void put_time(glas_writer *w, const void *v) { glas_put_time(w, *(const int64_t *)v); }
static bool take_time(glas_reader *r, void *v) { return glas_take_time(r, v); }
static void to_json_time(glas_writer *w, const void *v) { glas_json_put_time(w, *(const int64_t *)v); }
static bool from_json_time(glas_json *j, void *v) { return glas_json_take_time(j, v); }

static uint64_t hash_text(const void *v, uint64_t seed) { return glas_hash_text(*(const glas_text *)v, seed); }
static bool equal_text(const void *a, const void *b) { return glas_text_equal(*(const glas_text *)a, *(const glas_text *)b); }
static int compare_text(const void *a, const void *b) { return glas_text_compare(*(const glas_text *)a, *(const glas_text *)b); }
static bool copy_text(glas_heap *h, void *to, const void *from) { return glas_copy_text(h, to, *(const glas_text *)from); }
static void drop_text(glas_heap *h, void *v) { glas_drop_text(h, v); }
static void put_text(glas_writer *w, const void *v) { glas_put_text(w, *(const glas_text *)v); }
static bool take_text(glas_reader *r, void *v) { return glas_take_text(r, v); }
static void to_json_text(glas_writer *w, const void *v) { glas_json_put_text(w, *(const glas_text *)v); }
static bool from_json_text(glas_json *j, void *v) { return glas_json_take_text(j, v); }

static uint64_t hash_unit(const void *v, uint64_t seed) { return ((void)v, seed); }
static bool equal_unit(const void *a, const void *b) { return ((void)a, (void)b, true); }
static int compare_unit(const void *a, const void *b) { return ((void)a, (void)b, 0); }
static void put_unit(glas_writer *w, const void *v) { (void)w, (void)v; }
static bool take_unit(glas_reader *r, void *v) { return ((void)r, ((glas_unit *)v)->nothing = 0, true); }
static void to_json_unit(glas_writer *w, const void *v) { (void)v, glas_json_put(w, "null"); }
static bool from_json_unit(glas_json *j, void *v) { return ((glas_unit *)v)->nothing = 0, glas_json_take_null(j); }

/* A reply is never a key and never stands in state: it is only carried back to the mirror that asked. */
static bool copy_reply(glas_heap *h, void *to, const void *from)
{
    const glas_http_reply *f = from;
    glas_http_reply *t = to;
    t->status = f->status;
    if (!glas_copy_text(h, &t->content_type, f->content_type)) return false;
    if (glas_copy_text(h, &t->body, f->body)) return true;
    glas_drop_text(h, &t->content_type);
    return false;
}
static void drop_reply(glas_heap *h, void *v)
{
    glas_http_reply *reply = v;
    glas_drop_text(h, &reply->content_type);
    glas_drop_text(h, &reply->body);
}
static void put_reply(glas_writer *w, const void *v)
{
    const glas_http_reply *reply = v;
    glas_put_int(w, reply->status);
    glas_put_text(w, reply->content_type);
    glas_put_text(w, reply->body);
}
static bool take_reply(glas_reader *r, void *v)
{
    glas_http_reply *reply = v;
    return glas_take_int(r, &reply->status) && glas_take_text(r, &reply->content_type) && glas_take_text(r, &reply->body);
}

#define COPYLESS NULL, NULL
const glas_type glas_type_bool = {"Bool", 1, true, hash_bool, equal_bool, compare_bool, COPYLESS, put_bool, take_bool, to_json_bool, from_json_bool};
const glas_type glas_type_int = {"Int", 8, true, hash_int, equal_int, compare_int, COPYLESS, put_int, take_int, to_json_int, from_json_int};
const glas_type glas_type_time = {"Time", 8, true, hash_int, equal_int, compare_int, COPYLESS, put_time, take_time, to_json_time, from_json_time};
const glas_type glas_type_unit = {"Unit", 1, true, hash_unit, equal_unit, compare_unit, COPYLESS, put_unit, take_unit, to_json_unit, from_json_unit};
const glas_type glas_type_text = {"Text", sizeof(glas_text), false, hash_text, equal_text, compare_text,
                                  copy_text, drop_text, put_text, take_text, to_json_text, from_json_text};
const glas_type glas_type_reply = {"Reply", sizeof(glas_http_reply), false, NULL, NULL, NULL,
                                   copy_reply, drop_reply, put_reply, take_reply, NULL, NULL};
