/* Protobuf's wire format, as far as it is written and read by hand. What is read is ../pure/protobuf.py's to say. */

#include "speedups.h"

enum { PUSH = 0x22, PUB = 0x22, DATA = 0x22, INFO = 0x2A, OFFSET = 0x30 };
enum { ID = 0x08, PUBLISH = 0x3A, CHANNEL = 0x0A, PAYLOAD = 0x12 };
#define MAX_VARINT 10
#define MAX_ID 0xFFFFFFFFu

static Py_ssize_t varint_size(uint64_t number)
{
    Py_ssize_t size = 1;
    for (; number > 127; number >>= 7)
        size++;
    return size;
}

static byte *put_varint(byte *to, uint64_t number)
{
    for (; number > 127; number >>= 7)
        *to++ = (byte)(number | 128);
    *to++ = (byte)number;
    return to;
}

static byte *put(byte *to, const byte *from, Py_ssize_t size)
{
    memcpy(to, from, (size_t)size);
    return to + size;
}

static Py_ssize_t field_size(Py_ssize_t content)
{
    return 1 + varint_size((uint64_t)content) + content;
}

static byte *put_head(byte *to, byte tag, Py_ssize_t content)
{
    *to++ = tag;
    return put_varint(to, (uint64_t)content);
}

FUNCTION(protobuf_push)
{
    const byte *channel, *data, *info, *tags;
    Py_ssize_t channel_size, data_size, info_size, tags_size, pub, push;
    unsigned long long offset;
    byte *to;
    PyObject *result;
    (void)module;
    if (!has_arguments("protobuf_push", count, 5) || (channel = bytes_of(args[0], &channel_size)) == NULL ||
        (data = bytes_of(args[1], &data_size)) == NULL || (info = bytes_of(args[2], &info_size)) == NULL ||
        (tags = bytes_of(args[4], &tags_size)) == NULL)
        return NULL;
    offset = PyLong_AsUnsignedLongLong(args[3]);
    if (offset == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    pub = tags_size;
    if (data_size)
        pub += field_size(data_size);
    if (info_size)
        pub += field_size(info_size);
    if (offset)
        pub += 1 + varint_size(offset);
    push = channel_size + field_size(pub);
    result = PyBytes_FromStringAndSize(NULL, field_size(push));
    if (result == NULL)
        return NULL;
    to = (byte *)PyBytes_AsString(result);
    to = put_head(to, PUSH, push);
    to = put(to, channel, channel_size);
    to = put_head(to, PUB, pub);
    if (data_size)
        to = put(put_head(to, DATA, data_size), data, data_size);
    if (info_size)
        to = put(put_head(to, INFO, info_size), info, info_size);
    if (offset) {
        *to++ = OFFSET;
        to = put_varint(to, offset);
    }
    put(to, tags, tags_size);
    return result;
}

/* The number at `at`, before `end`; returns where it ends, NULL when it is not whole or has more than 64 bits. */
static const byte *take_varint(const byte *at, const byte *end, uint64_t *number)
{
    int shift = 0;
    *number = 0;
    for (; at < end && shift < 7 * MAX_VARINT; at++, shift += 7) {
        if (shift == 63 && *at > 1)
            return NULL;
        *number |= (uint64_t)(*at & 127) << shift;
        if (*at < 128)
            return at + 1;
    }
    return NULL;
}

/* As take_varint, for the length of what follows, all of which is before `end`, behind a tag. */
static const byte *take_sized(const byte *at, const byte *end, byte tag, uint64_t *size)
{
    if (at >= end || *at != tag || (at = take_varint(at + 1, end, size)) == NULL || *size > (uint64_t)(end - at))
        return NULL;
    return at;
}

FUNCTION(protobuf_publish)
{
    const byte *message, *at, *end, *channel;
    Py_ssize_t size, start;
    uint64_t id, length, channel_length;
    PyObject *data;
    (void)module;
    if (!has_arguments("protobuf_publish", count, 2) || (message = bytes_of(args[0], &size)) == NULL)
        return NULL;
    start = PyLong_AsSsize_t(args[1]);
    if (start == -1 && PyErr_Occurred())
        return NULL;
    if (start < 0 || start >= size)
        Py_RETURN_NONE;
    at = take_varint(message + start, message + size, &length);
    if (at == NULL || length > (uint64_t)(message + size - at))
        Py_RETURN_NONE;
    end = at + length;
    if (at >= end || *at != ID || (at = take_varint(at + 1, end, &id)) == NULL || id == 0 || id > MAX_ID)
        Py_RETURN_NONE;
    if ((at = take_sized(at, end, PUBLISH, &length)) == NULL || at + length != end)
        Py_RETURN_NONE;
    if ((channel = take_sized(at, end, CHANNEL, &channel_length)) == NULL)
        Py_RETURN_NONE;
    if ((at = take_sized(channel + channel_length, end, PAYLOAD, &length)) == NULL || at + length != end)
        Py_RETURN_NONE;
    data = PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)length);
    return data == NULL ? NULL
                        : Py_BuildValue("(Ks#Nn)", (unsigned long long)id, (const char *)channel,
                                        (Py_ssize_t)channel_length, data, (Py_ssize_t)(end - message));
}
