/* From an HTTP request line to a method and its arguments. Knows no reply and no transaction.
 *
 * Segments match exactly; a parameter takes one segment that is not empty, percent-decoded; a path that cannot be decoded is malformed;
 * literals win over parameters from the left; what follows a `?` is not part of the path.
 */
#include "core.h"

#define MAX_SEGMENTS 64u

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Cuts the path at its slashes; false where there is none at the front or there are too many segments. */
static bool cut(glas_bytes path, glas_text *segments, uint32_t *count)
{
    *count = 0;
    size_t n = 0;
    while (n < path.n && path.p[n] != '?') n++;
    if (n == 0 || path.p[0] != '/' || n > UINT32_MAX) return false;
    for (size_t start = 1;;) {
        size_t end = start;
        while (end < n && path.p[end] != '/') end++;
        if (*count == MAX_SEGMENTS) return false;
        segments[(*count)++] = (glas_text){path.p + start, (uint32_t)(end - start)};
        if (end >= n) break;
        start = end + 1;
    }
    if (*count == 1 && segments[0].n == 0) *count = 0; /* "/" has no segments */
    return true;
}

/* `p` has room for all of `from`. False: malformed. */
static bool decode(glas_text from, char *p, glas_text *to)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < from.n; i++) {
        if (from.p[i] != '%') {
            p[n++] = from.p[i];
            continue;
        }
        int high = i + 2 < from.n ? hex(from.p[i + 1]) : -1, low = high < 0 ? -1 : hex(from.p[i + 2]);
        if (low < 0) return false;
        p[n++] = (char)(high * 16 + low);
        i += 2;
    }
    *to = (glas_text){p, n};
    return glas_is_utf8((const uint8_t *)p, n);
}

static bool fits(const glas_method_info *method, const glas_text *segments, const glas_text *decoded, uint32_t count)
{
    if (method->kind != GLAS_HTTP_METHOD || method->path_count != count) return false;
    for (uint32_t i = 0; i < count; i++) {
        const glas_segment *wanted = &method->path[i];
        if (wanted->parameter ? decoded[i].n == 0 : !glas_text_equal(wanted->text, segments[i])) return false;
    }
    return true;
}

/* Has `a` a literal where `b`, at the first difference, has a parameter? */
static bool more_literal(const glas_method_info *a, const glas_method_info *b)
{
    for (uint32_t i = 0; i < a->path_count; i++)
        if (a->path[i].parameter != b->path[i].parameter) return !a->path[i].parameter;
    return false;
}

static bool verb_is(const glas_method_info *method, glas_bytes verb)
{
    return strlen(method->verb) == verb.n && memcmp(method->verb, verb.p, verb.n) == 0;
}

static void take_arguments(glas_core *core, const glas_method_info *method, const glas_text *decoded, glas_call *call)
{
    call->method = (uint32_t)(method - core->app->methods);
    call->args = core->args;
    memset(core->args, 0, method->args->size);
    glas_text *parameter = (glas_text *)(void *)core->args;
    for (uint32_t i = 0; i < method->path_count; i++)
        if (method->path[i].parameter) *parameter++ = decoded[i];
}

bool glas_http_find(glas_core *core, glas_bytes verb, glas_bytes path, glas_call *call, glas_reply *reply)
{
    glas_text segments[MAX_SEGMENTS], decoded[MAX_SEGMENTS];
    uint32_t count;
    bool known = false;
    const glas_method_info *best = NULL;
    if (!cut(path, segments, &count)) return glas_reply_abort(core, call, GLAS_WHY_NO_METHOD, GLAS_T("no such path"), reply), false;
    for (uint32_t i = 0; i < count; i++) {
        char *room = glas_arena_take(&core->input_arena, segments[i].n + 1u);
        if (room == NULL) return glas_reply_abort(core, call, GLAS_WHY_ERROR, GLAS_T("out of memory while reading the path"), reply), false;
        if (!decode(segments[i], room, &decoded[i])) return glas_reply_abort(core, call, GLAS_WHY_BAD_INPUT, GLAS_T("the path is malformed"), reply), false;
    }
    for (uint32_t i = 0; i < core->app->method_count; i++) {
        const glas_method_info *method = &core->app->methods[i];
        if (!fits(method, segments, decoded, count)) continue;
        known = true;
        if (verb_is(method, verb) && (best == NULL || more_literal(method, best))) best = method;
    }
    if (best != NULL) take_arguments(core, best, decoded, call);
    else if (known) glas_reply_abort(core, call, GLAS_WHY_BAD_VERB, GLAS_T("this path is there, but not for this verb"), reply);
    else glas_reply_abort(core, call, GLAS_WHY_NO_METHOD, GLAS_T("no such path"), reply);
    return best != NULL;
}
