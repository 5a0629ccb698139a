/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reading events, one behind the other in memory that was filled by a call. */
#ifndef AIO2_EVENT_H
#define AIO2_EVENT_H

#include <aio2/abi.h>

AIO2_BEGIN_DECLS

/*
 * The event at byte *pos of a buffer that holds so many bytes of them, and *pos
 * is moved behind it; null at their end, or at bytes that are no event.
 */
AIO2_INLINE const struct aio2_event *
aio2_event_next(const void *buffer, size_t bytes, size_t *pos)
{
	const struct aio2_event *event =
		(const struct aio2_event *)((const char *)buffer + *pos);
	size_t left = *pos < bytes ? bytes - *pos : 0;

	if (left < sizeof(*event) || event->len < sizeof(*event) ||
	    event->len % 8 || event->len > left)
		return NULL;
	*pos += event->len;
	return event;
}

/*
 * The payload of an attribute's return, in bytes, which *payload is set to.
 * -ENOENT if the event has none; otherwise the negative errno of its status.
 */
AIO2_INLINE long aio2_event_return(const struct aio2_event *event, __u16 id,
				   const void **payload)
{
	const char *at = (const char *)(event + 1);
	size_t left = event->len - sizeof(*event);

	while (left >= sizeof(struct aio2_return)) {
		const struct aio2_return *ret = (const struct aio2_return *)at;

		if (ret->len < sizeof(*ret) || ret->len % 8 || ret->len > left)
			break;
		if (ret->id == id) {
			*payload = ret + 1;
			return ret->status ? ret->status
					   : (long)(ret->len - sizeof(*ret));
		}
		at += ret->len;
		left -= ret->len;
	}
	return -ENOENT;
}

AIO2_END_DECLS

#endif
