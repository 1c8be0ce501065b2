/* Bytes in and out: varints, texts, times. What stands where in an entry or message is decided elsewhere. */
#include "mem.h"

void glas_writer_close(glas_writer *writer)
{
    glas_heap_resize(writer->heap, writer->p, writer->capacity, 0);
    *writer = (glas_writer){.heap = writer->heap, .most = writer->most};
}

/* Twice as much as before, within `most`; where memory is short, half of what is left, but as much as is needed. */
static bool grow(glas_writer *writer, size_t need)
{
    const glas_heap *heap = writer->heap;
    size_t wanted = writer->capacity < 64 ? 64 : writer->capacity * 2, left = heap->most - heap->used;
    if (wanted - writer->capacity > left) wanted = writer->capacity + left / 2;
    if (wanted > writer->most) wanted = writer->most;
    if (wanted < need) wanted = need;
    void *now = glas_heap_resize(writer->heap, writer->p, writer->capacity, wanted);
    if (now == NULL) return false;
    writer->p = now;
    writer->capacity = wanted;
    return true;
}

uint8_t *glas_writer_room(glas_writer *writer, size_t size)
{
    if (writer->failed) return NULL;
    if (writer->capacity - writer->n >= size) return writer->p + writer->n;
    if (size > writer->most || writer->n > writer->most - size || !grow(writer, writer->n + size)) {
        writer->failed = true;
        return NULL;
    }
    return writer->p + writer->n;
}

void glas_put_bytes(glas_writer *writer, const void *bytes, size_t n)
{
    if (n == 0) return;
    uint8_t *to = glas_writer_room(writer, n);
    if (to == NULL) return;
    memcpy(to, bytes, n);
    writer->n += n;
}

void glas_put_uint(glas_writer *writer, uint64_t value)
{
    uint8_t *to = glas_writer_room(writer, 10);
    if (to == NULL) return;
    size_t n = 0;
    while (value >= 0x80) {
        to[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[n++] = (uint8_t)value;
    writer->n += n;
}

void glas_put_int(glas_writer *writer, int64_t value)
{
    glas_put_uint(writer, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

void glas_put_bool(glas_writer *writer, uint8_t value) { glas_put_byte(writer, value != 0); }

void glas_put_text(glas_writer *writer, glas_text value)
{
    glas_put_uint(writer, value.n);
    glas_put_bytes(writer, value.p, value.n);
}

/* Differences wrap, so that every Time survives any base. */
void glas_put_time(glas_writer *writer, int64_t value)
{
    glas_put_int(writer, (int64_t)((uint64_t)value - (uint64_t)writer->base_time));
}

void glas_put_u64(glas_writer *writer, uint64_t value)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    glas_put_bytes(writer, bytes, 8);
}

bool glas_take_bytes(glas_reader *reader, size_t n, const uint8_t **bytes)
{
    if (reader->bad || reader->n - reader->at < n) return glas_take_bad(reader);
    *bytes = reader->p + reader->at;
    reader->at += n;
    return true;
}

bool glas_take_byte(glas_reader *reader, uint8_t *byte)
{
    const uint8_t *p;
    if (!glas_take_bytes(reader, 1, &p)) return false;
    *byte = *p;
    return true;
}

bool glas_take_u64(glas_reader *reader, uint64_t *value)
{
    const uint8_t *p;
    if (!glas_take_bytes(reader, 8, &p)) return false;
    *value = 0;
    for (unsigned i = 0; i < 8; i++) *value |= (uint64_t)p[i] << (8 * i);
    return true;
}

/* Only the shortest form of a number is taken: one value, one encoding. */
bool glas_take_uint(glas_reader *reader, uint64_t most, uint64_t *value)
{
    uint64_t result = 0;
    size_t at = reader->at;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (reader->bad || at >= reader->n) return glas_take_bad(reader);
        uint8_t byte = reader->p[at++];
        if (shift == 63 && byte > 1) return glas_take_bad(reader);
        result |= (uint64_t)(byte & 0x7F) << shift;
        if (byte & 0x80) continue;
        if ((byte == 0 && shift > 0) || result > most) return glas_take_bad(reader);
        reader->at = at;
        *value = result;
        return true;
    }
    return glas_take_bad(reader);
}

bool glas_take_int(glas_reader *reader, int64_t *value)
{
    uint64_t raw;
    if (!glas_take_uint(reader, UINT64_MAX, &raw)) return false;
    *value = (int64_t)((raw >> 1) ^ (~(raw & 1) + 1));
    return true;
}

bool glas_take_bool(glas_reader *reader, uint8_t *value)
{
    uint64_t raw;
    if (!glas_take_uint(reader, 1, &raw)) return false;
    *value = (uint8_t)raw;
    return true;
}

bool glas_take_time(glas_reader *reader, int64_t *value)
{
    int64_t distance;
    if (!glas_take_int(reader, &distance)) return false;
    *value = (int64_t)((uint64_t)reader->base_time + (uint64_t)distance);
    return true;
}

bool glas_take_text(glas_reader *reader, glas_text *value)
{
    uint64_t n;
    const uint8_t *bytes;
    size_t start = reader->at;
    if (!glas_take_uint(reader, UINT32_MAX, &n) || !glas_take_bytes(reader, (size_t)n, &bytes)) return false;
    if (!glas_is_utf8(bytes, (size_t)n)) {
        reader->at = start;
        return glas_take_bad(reader);
    }
    *value = (glas_text){(const char *)bytes, (uint32_t)n};
    return true;
}

/* Number of bytes of the well-formed sequence at `p`, or 0. Unicode 15, table 3-7. */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
    uint8_t lead = p[0], low = 0x80, high = 0xBF;
    size_t length = lead < 0x80 ? 1 : lead >= 0xC2 && lead <= 0xDF ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
    if (length == 0 || length > n) return 0;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    for (size_t i = 1; i < length; i++, low = 0x80, high = 0xBF)
        if (p[i] < low || p[i] > high) return 0;
    return length;
}

bool glas_is_utf8(const uint8_t *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t step = bytes[at] < 0x80 ? 1 : utf8_sequence(bytes + at, n - at);
        if (step == 0) return false;
        at += step;
    }
    return true;
}
