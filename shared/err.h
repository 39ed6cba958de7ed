/* SPDX-License-Identifier: Apache-2.0
 * The one error enum of the house. Functions that can fail return 0 or one of these negative values;
 * SC_ESYS means that errno says more. */
#ifndef SHARED_ERR_H
#define SHARED_ERR_H

#define SC_MUST_CHECK __attribute__((warn_unused_result))
#define SC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum sc_err {
    SC_OK = 0,
    SC_ESYS = -1,     /* a system call failed: see errno */
    SC_ENOMEM = -2,   /* memory, blocks or slots are used up */
    SC_EINVAL = -3,   /* the caller's value is outside the contract, or a setting is wrong */
    SC_EFORMAT = -4,  /* foreign bytes do not have the form they must have */
    SC_EVERSION = -5, /* layout or protocol of another build */
    SC_EFULL = -6,    /* no room now; try again after the peer has moved */
    SC_EAGAIN = -7,   /* nothing there now */
    SC_ENOENT = -8,
    SC_EEXIST = -9,
    SC_EPERM = -10,
    SC_ETOOLONG = -11,
    SC_EOF = -12, /* the other side is gone, or the input has ended */
};

/* Text of an error, never NULL; "unknown error" for values outside the enum. Static storage. */
const char *sc_strerror(int err);

#endif
