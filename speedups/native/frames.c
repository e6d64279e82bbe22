/* WebSocket frames in and out (RFC 6455, section 5). What a frame may be is ../pure/frames.py's to say. */

#include "speedups.h"

enum { FIN = 0x80, FIN_TEXT = 0x81, FIN_BINARY = 0x82, MASKED = 0x80, MASK = 4 };

typedef struct {
    const byte *mask;
    Py_ssize_t length; /* of the payload, which is behind the mask */
} Frame;

static void xor_with(const byte mask[MASK], const byte *from, byte *to, Py_ssize_t size)
{
    byte twice[8];
    uint64_t key, word;
    Py_ssize_t i = 0;
    memcpy(twice, mask, MASK);
    memcpy(twice + MASK, mask, MASK);
    memcpy(&key, twice, 8);
    for (; size - i >= 8; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= key;
        memcpy(to + i, &word, 8);
    }
    for (; i < size; i++)
        to[i] = from[i] ^ mask[i % MASK];
}

static PyObject *unmasked(const byte *mask, const byte *payload, Py_ssize_t size)
{
    PyObject *result = PyBytes_FromStringAndSize(NULL, size);
    if (result != NULL && size > 0) /* the empty one is shared */
        xor_with(mask, payload, (byte *)PyBytes_AsString(result), size);
    return result;
}

FUNCTION(unmask)
{
    Py_buffer payload, mask;
    PyObject *result = NULL;
    (void)module;
    if (!has_arguments("unmask", count, 2) || PyObject_GetBuffer(args[0], &payload, PyBUF_SIMPLE) < 0)
        return NULL;
    if (PyObject_GetBuffer(args[1], &mask, PyBUF_SIMPLE) == 0) {
        if (mask.len == MASK)
            result = unmasked(mask.buf, payload.buf, payload.len);
        else
            PyErr_SetString(PyExc_ValueError, "a mask has four bytes");
        PyBuffer_Release(&mask);
    }
    PyBuffer_Release(&payload);
    return result;
}

/* The frame at the start of `data`, of which the first byte was looked at: how many bytes it has; 0 when it is not
   whole, too long, or against the rules. */
static Py_ssize_t take(const byte *data, Py_ssize_t size, Py_ssize_t most, Frame *frame)
{
    Py_ssize_t head = 2;
    uint64_t length;
    int i;
    if (size < head + MASK || !(data[1] & MASKED))
        return 0;
    length = data[1] & 0x7F;
    if (length == 126) {
        head = 4;
        if (size < head + MASK)
            return 0;
        length = (uint64_t)data[2] << 8 | data[3];
        if (length < 126)
            return 0;
    } else if (length == 127) {
        head = 10;
        if (size < head + MASK)
            return 0;
        for (length = 0, i = 2; i < 10; i++)
            length = length << 8 | data[i];
        if (length < 1 << 16)
            return 0;
    }
    if (length > (uint64_t)(size - head - MASK) || (Py_ssize_t)length > most)
        return 0;
    frame->mask = data + head;
    frame->length = (Py_ssize_t)length;
    return head + MASK + frame->length;
}

static PyObject *first(const char *name, byte kind, PyObject *const *args, Py_ssize_t count)
{
    const byte *data;
    Py_ssize_t size, start, most, length;
    Frame frame;
    PyObject *payload;
    if (!has_arguments(name, count, 3) || (data = bytes_of(args[0], &size)) == NULL)
        return NULL;
    start = PyLong_AsSsize_t(args[1]);
    if (start == -1 && PyErr_Occurred())
        return NULL;
    most = PyLong_AsSsize_t(args[2]);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    if (start < 0 || start >= size || data[start] != kind ||
        (length = take(data + start, size - start, most, &frame)) == 0)
        Py_RETURN_NONE;
    payload = unmasked(frame.mask, frame.mask + MASK, frame.length);
    return payload == NULL ? NULL : Py_BuildValue("(Nn)", payload, start + length);
}

FUNCTION(first_text)
{
    (void)module;
    return first("first_text", FIN_TEXT, args, count);
}

FUNCTION(first_binary)
{
    (void)module;
    return first("first_binary", FIN_BINARY, args, count);
}

/* Out */

#define MAX_HEAD 10

static Py_ssize_t write_head(byte *to, byte first, Py_ssize_t length)
{
    int i;
    to[0] = first;
    if (length < 126) {
        to[1] = (byte)length;
        return 2;
    }
    if (length < 1 << 16) {
        to[1] = 126;
        to[2] = (byte)(length >> 8);
        to[3] = (byte)length;
        return 4;
    }
    to[1] = 127;
    for (i = 0; i < 8; i++)
        to[2 + i] = (byte)((uint64_t)length >> (56 - 8 * i));
    return MAX_HEAD;
}

FUNCTION(framed)
{
    const byte *payload;
    byte head[MAX_HEAD], *to;
    Py_ssize_t size, head_size;
    long opcode;
    PyObject *result;
    (void)module;
    if (!has_arguments("framed", count, 2) || (payload = bytes_of(args[1], &size)) == NULL)
        return NULL;
    opcode = PyLong_AsLong(args[0]);
    if (opcode == -1 && PyErr_Occurred())
        return NULL;
    if (opcode < 0 || opcode > 15) {
        PyErr_SetString(PyExc_ValueError, "an opcode has four bits");
        return NULL;
    }
    head_size = write_head(head, (byte)(FIN | opcode), size);
    if (size > PY_SSIZE_T_MAX - MAX_HEAD)
        return PyErr_NoMemory();
    result = PyBytes_FromStringAndSize(NULL, head_size + size);
    if (result != NULL) {
        to = (byte *)PyBytes_AsString(result);
        memcpy(to, head, (size_t)head_size);
        memcpy(to + head_size, payload, (size_t)size);
    }
    return result;
}

static byte *put(byte *to, const void *from, Py_ssize_t size)
{
    memcpy(to, from, (size_t)size);
    return to + size;
}

#define PUT(to, text) put(to, text, sizeof(text) - 1)

FUNCTION(publication_push)
{
    const byte *channel, *body;
    Py_ssize_t channel_size, body_size, size;
    unsigned long long offset;
    byte number[MAX_DECIMAL], *digits = NULL, *to;
    PyObject *result;
    (void)module;
    if (!has_arguments("publication_push", count, 3) || (channel = bytes_of(args[0], &channel_size)) == NULL ||
        (body = bytes_of(args[1], &body_size)) == NULL)
        return NULL;
    offset = PyLong_AsUnsignedLongLong(args[2]);
    if (offset == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    if (body_size < 2) {
        PyErr_SetString(PyExc_ValueError, "a publication is a JSON object");
        return NULL;
    }
    size = sizeof("{\"push\":{\"channel\":,\"pub\":}}") - 1 + channel_size + body_size;
    if (offset) {
        digits = decimal(offset, number + MAX_DECIMAL);
        size += sizeof(",\"offset\":") - 1 + (number + MAX_DECIMAL - digits);
    }
    result = PyBytes_FromStringAndSize(NULL, size);
    if (result == NULL)
        return NULL;
    to = (byte *)PyBytes_AsString(result);
    to = PUT(to, "{\"push\":{\"channel\":");
    to = put(to, channel, channel_size);
    to = PUT(to, ",\"pub\":");
    to = put(to, body, body_size - 1);
    if (offset) {
        to = PUT(to, ",\"offset\":");
        to = put(to, digits, number + MAX_DECIMAL - digits);
    }
    PUT(to, "}}}");
    return result;
}
