/* The commands of one message, as far as they can be told at a glance: publications and pongs in their usual form. The
   rest of the lines is left to the general parser, which knows every form (../pure/commands.py). */

#include "speedups.h"

#define MAX_LEVELS 64  /* of lists and objects in a payload */
#define MAX_NUMBER 300 /* characters of a number in it */

typedef struct {
    const byte *at, *end;
} Text;

static int blank(byte one)
{
    return one == ' ' || one == '\t' || one == '\r';
}

static void skip_blanks(Text *text)
{
    while (text->at < text->end && blank(*text->at))
        text->at++;
}

/* A sign of the structure, with blanks around it. */
static int sign(Text *text, byte wanted)
{
    skip_blanks(text);
    if (text->at >= text->end || *text->at != wanted)
        return 0;
    text->at++;
    skip_blanks(text);
    return 1;
}

static int is_hex(byte one)
{
    return (one >= '0' && one <= '9') || (one >= 'a' && one <= 'f') || (one >= 'A' && one <= 'F');
}

/* Behind a backslash. Escapes of surrogates are left to the general parser. */
static int escape(Text *text)
{
    int i;
    if (text->at >= text->end)
        return 0;
    switch (*text->at++) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return 1;
    case 'u':
        if (text->end - text->at < 4 || ((text->at[0] | 0x20) == 'd' && text->at[1] >= '8'))
            return 0;
        for (i = 0; i < 4; i++)
            if (!is_hex(*text->at++))
                return 0;
        return 1;
    default:
        return 0;
    }
}

/* A string, from its first quotation mark; `*plain` becomes 0 when it has escapes. */
static int string(Text *text, int *plain)
{
    if (text->at >= text->end || *text->at != '"')
        return 0;
    for (text->at++; text->at < text->end;) {
        byte one = *text->at++;
        if (one == '"')
            return 1;
        if (one < 0x20)
            return 0;
        if (one == '\\') {
            *plain = 0;
            if (!escape(text))
                return 0;
        }
    }
    return 0;
}

static int digits(Text *text)
{
    const byte *begin = text->at;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9')
        text->at++;
    return text->at > begin;
}

static int number(Text *text)
{
    const byte *begin = text->at;
    if (text->at < text->end && *text->at == '-')
        text->at++;
    if (text->at < text->end && *text->at == '0')
        text->at++;
    else if (!digits(text))
        return 0;
    if (text->at < text->end && *text->at == '.') {
        text->at++;
        if (!digits(text))
            return 0;
    }
    if (text->at < text->end && (*text->at | 0x20) == 'e') {
        text->at++;
        if (text->at < text->end && (*text->at == '+' || *text->at == '-'))
            text->at++;
        if (!digits(text))
            return 0;
    }
    return text->at - begin <= MAX_NUMBER;
}

static int word(Text *text, const char *wanted, Py_ssize_t size)
{
    if (text->end - text->at < size || memcmp(text->at, wanted, (size_t)size) != 0)
        return 0;
    text->at += size;
    return 1;
}

#define WORD(text, wanted) word(text, wanted, sizeof(wanted) - 1)

static int value(Text *text, int levels);

static int members(Text *text, int levels, byte close, int named)
{
    int plain;
    text->at++;
    if (levels <= 0)
        return 0;
    if (sign(text, close))
        return 1;
    do {
        if (named && (!string(text, &plain) || !sign(text, ':')))
            return 0;
        if (!value(text, levels - 1))
            return 0;
    } while (sign(text, ','));
    return sign(text, close);
}

/* Any JSON value that starts here. Behind a list or an object blanks are skipped as well. */
static int value(Text *text, int levels)
{
    int plain;
    if (text->at >= text->end)
        return 0;
    switch (*text->at) {
    case '"':
        return string(text, &plain);
    case '{':
        return members(text, levels, '}', 1);
    case '[':
        return members(text, levels, ']', 0);
    case 't':
        return WORD(text, "true");
    case 'f':
        return WORD(text, "false");
    case 'n':
        return WORD(text, "null");
    default:
        return number(text);
    }
}

typedef struct {
    unsigned long id;
    Text channel, data; /* without the channel's quotation marks */
} Publish;

static int read_id(Text *text, unsigned long *id)
{
    uint64_t found = 0;
    const byte *begin = text->at;
    if (!digits(text) || *begin == '0' || text->at - begin > 10)
        return 0;
    for (; begin < text->at; begin++)
        found = found * 10 + (uint64_t)(*begin - '0');
    *id = (unsigned long)found;
    return found <= UINT32_MAX;
}

static int read_channel(Text *text, Text *channel)
{
    int plain = 1;
    channel->at = text->at + 1;
    if (channel->at < text->end && *channel->at == '"')
        return 0; /* none */
    if (!string(text, &plain) || !plain)
        return 0;
    channel->end = text->at - 1;
    return 1;
}

/* A payload; `null` is none. Its end is without blanks. */
static int read_data(Text *text, Text *data)
{
    data->at = text->at;
    if (text->at < text->end && *text->at == 'n')
        return 0;
    if (!value(text, MAX_LEVELS))
        return 0;
    for (data->end = text->at; blank(data->end[-1]);)
        data->end--;
    return 1;
}

/* The members `channel` and `data`, each once, in any order. */
static int read_request(Text *text, Publish *publish)
{
    int channel = 0, data = 0;
    if (!sign(text, '{'))
        return 0;
    do {
        if (!channel && WORD(text, "\"channel\"")) {
            channel = 1;
            if (!sign(text, ':') || !read_channel(text, &publish->channel))
                return 0;
        } else if (!data && WORD(text, "\"data\"")) {
            data = 1;
            if (!sign(text, ':') || !read_data(text, &publish->data))
                return 0;
        } else {
            return 0;
        }
    } while (sign(text, ','));
    return channel && data && sign(text, '}');
}

/* A line that is `{"id":…,"publish":{…}}`, in any order. */
static int read_publish(Text text, Publish *publish)
{
    int id = 0, request = 0;
    if (!sign(&text, '{'))
        return 0;
    do {
        if (!id && WORD(&text, "\"id\"")) {
            id = 1;
            if (!sign(&text, ':') || !read_id(&text, &publish->id))
                return 0;
        } else if (!request && WORD(&text, "\"publish\"")) {
            request = 1;
            if (!sign(&text, ':') || !read_request(&text, publish))
                return 0;
        } else {
            return 0;
        }
    } while (sign(&text, ','));
    return id && request && sign(&text, '}') && text.at == text.end;
}

static PyObject *publish_item(const Publish *publish)
{
    PyObject *channel = PyUnicode_DecodeUTF8((const char *)publish->channel.at,
                                             publish->channel.end - publish->channel.at, NULL);
    if (channel == NULL)
        return NULL;
    return Py_BuildValue("(kNy#)", publish->id, channel, (const char *)publish->data.at,
                         (Py_ssize_t)(publish->data.end - publish->data.at));
}

static PyObject *item(Text line)
{
    Publish publish = {0};
    if (line.end - line.at == 2 && line.at[0] == '{' && line.at[1] == '}')
        return PyTuple_New(0);
    if (read_publish(line, &publish))
        return publish_item(&publish);
    return PyBytes_FromStringAndSize((const char *)line.at, line.end - line.at);
}

static int is_ascii(const byte *data, Py_ssize_t size)
{
    uint64_t word, any = 0;
    Py_ssize_t i = 0;
    for (; size - i >= 8; i += 8) {
        memcpy(&word, data + i, 8);
        any |= word;
    }
    for (; i < size; i++)
        any |= data[i];
    return !(any & 0x8080808080808080ULL);
}

/* Whether a message is UTF-8; 0 with an exception. */
static int check_text(const byte *data, Py_ssize_t size)
{
    PyObject *text;
    if (is_ascii(data, size))
        return 1;
    text = PyUnicode_DecodeUTF8((const char *)data, size, NULL);
    Py_XDECREF(text);
    return text != NULL;
}

FUNCTION(scan)
{
    Text rest, line;
    Py_ssize_t size, most;
    PyObject *found, *one;
    int failed;
    (void)module;
    if (!has_arguments("scan", count, 2) || (rest.at = bytes_of(args[0], &size)) == NULL)
        return NULL;
    most = PyLong_AsSsize_t(args[1]);
    if ((most == -1 && PyErr_Occurred()) || !check_text(rest.at, size))
        return NULL;
    rest.end = rest.at + size;
    found = PyList_New(0);
    if (found == NULL)
        return NULL;
    do {
        line.at = rest.at;
        line.end = most <= 0 ? NULL : memchr(rest.at, '\n', (size_t)(rest.end - rest.at));
        if (line.end == NULL)
            line.end = rest.end;
        one = most <= 0 ? PyBytes_FromStringAndSize((const char *)line.at, line.end - line.at) : item(line);
        failed = one == NULL || PyList_Append(found, one) < 0;
        Py_XDECREF(one);
        if (failed) {
            Py_DECREF(found);
            return NULL;
        }
        most--;
        rest.at = line.end + 1;
    } while (rest.at < rest.end); /* nothing is behind a last end of line */
    return found;
}
