// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What parse.c has to do, for Frama-C. WP proves that it accepts exactly what
 * R-IOCB-3 to R-IOCB-9 say; Eva, with `any_iocb` as main, that it reads no byte
 * outside of the iocb. SPEC: section 6.2.
 */
#include "aio2/parse.h"

/*
 * What stands in the memory behind an iocb: any numbers whatever, since nothing
 * is said about these functions, but the same ones as long as it is parsed.
 */
/*@ axiomatic content {
      logic integer attr_id(u8 *at);
      logic integer attr_len(u8 *at);
      logic integer attr_flags(u8 *at);
    } */
/*@ predicate holds{L}(u8 *attrs) = \forall integer pos; 0 <= pos < 1024 ==>
      ((struct aio2_attr *)(attrs + pos))->id == attr_id(attrs + pos) &&
      ((struct aio2_attr *)(attrs + pos))->len == attr_len(attrs + pos) &&
      ((struct aio2_attr *)(attrs + pos))->flags == attr_flags(attrs + pos); */

/*@ predicate good_attr(u8 *at, integer left) =
      left >= 8 &&
      8 <= attr_len(at) <= left && (attr_len(at) & 7) == 0 &&
      1 <= attr_id(at) <= 63 &&
      (attr_flags(at) & 0xfffffffc) == 0; */

/*@ // R-IOCB-8, from `pos` on; bit n of `seen`: attribute n was there before
    predicate good_attrs(u8 *attrs, integer pos, integer end, integer seen) =
      pos >= end ||
      good_attr(attrs + pos, end - pos) &&
      (seen & (u64)(1 << attr_id(attrs + pos))) == 0 &&
      good_attrs(attrs, pos + attr_len(attrs + pos), end,
                 seen | (u64)(1 << attr_id(attrs + pos))); */

/*@ // R-IOCB-4 to R-IOCB-7
    predicate good_head{L}(struct aio2_iocb *iocb) =
      (iocb->flags & 0xfff0) == 0 &&
      iocb->resv == 0 &&
      (iocb->id == 0 || (iocb->flags & 1) != 0) &&
      iocb->nr_args <= 6 && 32 + 8 * iocb->nr_args <= iocb->len; */

#define ARGUMENT(k)							\
	(out->args[k] ==						\
	 (k < \at(iocb->nr_args, Pre) ? \at(iocb->args[k], Pre) : 0))
#define GOOD(pos, mask)	good_attrs(out->attrs, pos, out->attr_bytes, mask)

/*@ requires \valid_read(iocb);
    assigns \nothing;
    ensures R_IOCB_3: \result == (iocb->len < 32 || (iocb->len & 7) != 0 ? -EINVAL :
                                  iocb->len > 1024 ? -E2BIG :
                                  iocb->len > left ? -EINVAL : 0); */
int aio2_parse_len(const struct aio2_iocb *iocb, u32 left);

/*@ requires \valid(out);
    requires out->attr_bytes <= 992;
    requires \separated(out, out->attrs + (0 .. 1039));
    requires holds(out->attrs);
    requires out->attr_mask == 0 && out->nr_attrs == 0;
    assigns out->attr_mask, out->return_mask, out->required_mask, out->nr_attrs;
    ensures one_errno: \result == 0 || \result == -EINVAL;
    ensures R_IOCB_8: \result == 0 <==> GOOD(0, 0);
    ensures counted: 8 * out->nr_attrs <= out->attr_bytes; */
static int parse_attrs(struct aio2_request *out);

/*@ requires \valid_read(iocb) && \valid(out);
    requires \separated(out, (u8 *)iocb + (0 .. 2047));
    requires holds((u8 *)iocb + (32 + 8 * iocb->nr_args));
    requires \separated(out, &iocb->args[0 .. 5]);
    requires 32 <= iocb->len <= 1024 && (iocb->len & 7) == 0;
    assigns *out;
    ensures one_errno: \result == 0 || \result == -EINVAL;
    ensures R_IOCB_4_to_9: \result == 0 <==> good_head{Pre}(iocb) &&
	good_attrs((u8 *)iocb + (32 + 8 * \at(iocb->nr_args, Pre)), 0,
	    \at(iocb->len, Pre) - (32 + 8 * \at(iocb->nr_args, Pre)), 0);
    ensures what_it_says: \result == 0 ==>
	out->len == iocb->len && out->nr == iocb->nr &&
	out->nr_args == iocb->nr_args && out->flags == iocb->flags &&
	out->user_data == iocb->user_data;
    ensures arguments: \result == 0 ==> ARGUMENT(0) && ARGUMENT(1) &&
	ARGUMENT(2) && ARGUMENT(3) && ARGUMENT(4) && ARGUMENT(5); */
int aio2_parse_iocb(const struct aio2_iocb *iocb, struct aio2_request *out);

#include "aio2/parse.c"
