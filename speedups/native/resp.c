/* Commands to Redis (RESP: an array of bulk strings), and the publications that it announces. */

#include "speedups.h"

#define FEW 32

typedef struct {
    const byte *data; /* NULL: it is in `number` */
    Py_ssize_t size;
    PyObject *kept; /* what owns the data, if that is not the command */
    byte number[MAX_DECIMAL];
} Part;

/* The digits of a number that is neither negative nor large; 0 without an exception for all others. */
static int plain_number(PyObject *item, Part *part)
{
    byte *end = part->number + MAX_DECIMAL, *digits;
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(item, &overflow);
    if (overflow || value < 0)
        return 0;
    digits = decimal((uint64_t)value, end);
    part->size = end - digits;
    memmove(part->number, digits, (size_t)part->size);
    return 1;
}

/* Find the bytes of one argument: bytes, text, a number. 0 with an exception. */
static int part_of(PyObject *item, Part *part)
{
    part->kept = NULL;
    part->data = NULL;
    if (PyBytes_Check(item))
        return (part->data = bytes_of(item, &part->size)) != NULL;
    if (!PyUnicode_Check(item)) {
        if (!PyLong_CheckExact(item) && !PyFloat_CheckExact(item)) {
            PyErr_SetString(PyExc_TypeError, "an argument must be bytes, str, int or float");
            return 0;
        }
        if (PyLong_CheckExact(item) && plain_number(item, part))
            return 1;
        item = part->kept = PyObject_Repr(item);
        if (item == NULL)
            return 0;
    }
    part->data = (const byte *)PyUnicode_AsUTF8AndSize(item, &part->size);
    return part->data != NULL;
}

static byte *put_number(byte *to, byte sign, Py_ssize_t value)
{
    byte number[MAX_DECIMAL], *end = number + MAX_DECIMAL, *digits = decimal((uint64_t)value, end);
    *to++ = sign;
    memcpy(to, digits, (size_t)(end - digits));
    to += end - digits;
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

/* The bytes that `put_number` writes. */
static Py_ssize_t number_size(Py_ssize_t value)
{
    Py_ssize_t size = 4; /* sign, one digit, CR, LF */
    for (; value >= 10; value /= 10)
        size++;
    return size;
}

static PyObject *packed(const Part *parts, Py_ssize_t count)
{
    Py_ssize_t i, size = number_size(count);
    PyObject *result;
    byte *to;
    for (i = 0; i < count; i++) {
        Py_ssize_t more = number_size(parts[i].size) + 2;
        if (parts[i].size > PY_SSIZE_T_MAX - size - more)
            return PyErr_NoMemory();
        size += more + parts[i].size;
    }
    result = PyBytes_FromStringAndSize(NULL, size);
    if (result == NULL)
        return NULL;
    to = put_number((byte *)PyBytes_AsString(result), '*', count);
    for (i = 0; i < count; i++) {
        to = put_number(to, '$', parts[i].size);
        memcpy(to, parts[i].data ? parts[i].data : parts[i].number, (size_t)parts[i].size);
        to += parts[i].size;
        *to++ = '\r';
        *to++ = '\n';
    }
    return result;
}

FUNCTION(pack)
{
    Part few[FEW], *parts = few;
    PyObject *tuple, *result = NULL;
    Py_ssize_t i, items, found = 0;
    (void)module;
    if (!has_arguments("pack", count, 1) || (tuple = PySequence_Tuple(args[0])) == NULL)
        return NULL;
    items = PyTuple_Size(tuple);
    if (items > FEW && (parts = PyMem_Malloc((size_t)items * sizeof(Part))) == NULL) {
        Py_DECREF(tuple);
        return PyErr_NoMemory();
    }
    for (; found < items; found++) {
        if (!part_of(PyTuple_GetItem(tuple, found), &parts[found])) {
            Py_CLEAR(parts[found].kept);
            break;
        }
    }
    if (found == items)
        result = packed(parts, items);
    for (i = 0; i < found; i++)
        Py_XDECREF(parts[i].kept);
    if (parts != few)
        PyMem_Free(parts);
    Py_DECREF(tuple);
    return result;
}

/* Publications, as `publish.lua` announces them (../pure/resp.py has the layout). Whatever is packed in another way is
   left to the general decoder. */

typedef struct {
    const byte *at, *end;
} Cursor;

static int literal(Cursor *cursor, const char *text, Py_ssize_t size)
{
    if (cursor->end - cursor->at < size || memcmp(cursor->at, text, (size_t)size) != 0)
        return 0;
    cursor->at += size;
    return 1;
}

#define LITERAL(cursor, text) literal(cursor, text, sizeof(text) - 1)

/* A number of `width` bytes. */
static int wide(Cursor *cursor, int width, uint64_t *value)
{
    if (cursor->end - cursor->at < width)
        return 0;
    for (*value = 0; width > 0; width--)
        *value = *value << 8 | *cursor->at++;
    return 1;
}

static int unsigned_number(Cursor *cursor, uint64_t *value)
{
    uint64_t first;
    if (!wide(cursor, 1, &first))
        return 0;
    if (first < 0x80) {
        *value = first;
        return 1;
    }
    return first >= 0xCC && first <= 0xCF && wide(cursor, 1 << (first - 0xCC), value);
}

/* Text or bytes with a length of their own: `fix` is the first byte of short ones (0: there are none), `wide_first`
   that of those with one byte of length. */
static int sized(Cursor *cursor, int fix, int wide_first, const byte **data, Py_ssize_t *size)
{
    uint64_t first, length;
    if (!wide(cursor, 1, &first))
        return 0;
    if (fix && (first & 0xE0) == (uint64_t)fix)
        length = first & 0x1F;
    else if (first < (uint64_t)wide_first || first > (uint64_t)wide_first + 2 ||
             !wide(cursor, 1 << (first - (uint64_t)wide_first), &length))
        return 0;
    if (length > (uint64_t)(cursor->end - cursor->at))
        return 0;
    *data = cursor->at;
    *size = (Py_ssize_t)length;
    cursor->at += length;
    return 1;
}

#define TEXT(cursor, data, size) sized(cursor, 0xA0, 0xD9, data, size)
#define BINARY(cursor, data, size) sized(cursor, 0, 0xC4, data, size)

FUNCTION(read_publication)
{
    Cursor cursor;
    Py_ssize_t size, channel_size, body_size, epoch_size;
    const byte *channel, *body, *epoch;
    uint64_t offset, stamp, number;
    PyObject *channel_text, *epoch_text;
    (void)module;
    if (!has_arguments("read_publication", count, 1) || (cursor.at = bytes_of(args[0], &size)) == NULL)
        return NULL;
    cursor.end = cursor.at + size;
    if (!LITERAL(&cursor, "\x87\xa4type\xa3pub\xa1" "c") || !TEXT(&cursor, &channel, &channel_size) ||
        !LITERAL(&cursor, "\xa1" "d") || !BINARY(&cursor, &body, &body_size) ||
        !LITERAL(&cursor, "\xa1" "e") || !TEXT(&cursor, &epoch, &epoch_size) ||
        !LITERAL(&cursor, "\xa1" "o") || !unsigned_number(&cursor, &offset) ||
        !LITERAL(&cursor, "\xa1" "t") || !unsigned_number(&cursor, &stamp) ||
        !LITERAL(&cursor, "\xa1" "n") || !unsigned_number(&cursor, &number) || cursor.at != cursor.end)
        Py_RETURN_NONE;
    channel_text = PyUnicode_DecodeUTF8((const char *)channel, channel_size, NULL);
    epoch_text = channel_text ? PyUnicode_DecodeUTF8((const char *)epoch, epoch_size, NULL) : NULL;
    if (epoch_text == NULL) {
        Py_XDECREF(channel_text);
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return NULL;
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(Ny#NKKK)", channel_text, (const char *)body, body_size, epoch_text,
                         (unsigned long long)offset, (unsigned long long)stamp, (unsigned long long)number);
}
