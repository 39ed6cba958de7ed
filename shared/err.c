/* SPDX-License-Identifier: Apache-2.0
 * Texts of the error enum. The switch has no default, so that the compiler names a value that has no text.
 * Failure policy: none; every int has a text. */
#include "shared/err.h"

const char *sc_strerror(int err)
{
    switch ((enum sc_err)err) {
    case SC_OK:
        return "success";
    case SC_ESYS:
        return "system call failed";
    case SC_ENOMEM:
        return "out of memory or slots";
    case SC_EINVAL:
        return "invalid value";
    case SC_EFORMAT:
        return "malformed input";
    case SC_EVERSION:
        return "layout or protocol of another build";
    case SC_EFULL:
        return "no room now";
    case SC_EAGAIN:
        return "nothing there now";
    case SC_ENOENT:
        return "not found";
    case SC_EEXIST:
        return "exists already";
    case SC_EPERM:
        return "not permitted";
    case SC_ETOOLONG:
        return "too long";
    case SC_EOF:
        return "the other side is gone";
    }
    return "unknown error";
}
