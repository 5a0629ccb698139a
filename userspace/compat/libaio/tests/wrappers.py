# SPDX-License-Identifier: MIT OR Apache-2.0
"""Python's wrappers: writes a file by each, reads it back, compares.

    wrappers.py caio|libaio FILE
"""
import asyncio
import os
import sys

BLOCK, BLOCKS = 4096, 200


def by_caio(fd, data):
    from caio.linux_aio_asyncio import AsyncioContext

    async def run():
        context = AsyncioContext(max_requests=64)
        each = enumerate(data)
        await asyncio.gather(*(context.write(piece, fd, n * BLOCK) for n, piece in each))
        await context.fdsync(fd)
        reads = (context.read(BLOCK, fd, n * BLOCK) for n in range(BLOCKS))
        return [bytes(piece) for piece in await asyncio.gather(*reads)]

    return asyncio.run(run())


def by_libaio(fd, data):
    import libaio

    def transfer(context, mode, buffers):
        blocks = [
            libaio.AIOBlock(mode=mode, target_file=fd, buffer_list=[buffer], offset=n * BLOCK)
            for n, buffer in enumerate(buffers)
        ]
        assert context.submit(blocks) == len(blocks)
        left = len(blocks)
        while left:
            for _, result, _ in context.getEvents():
                assert result == BLOCK, result
                left -= 1

    back = [bytearray(BLOCK) for _ in range(BLOCKS)]
    with libaio.AIOContext(BLOCKS) as context:
        transfer(context, libaio.AIOBLOCK_MODE_WRITE, [bytearray(piece) for piece in data])
        transfer(context, libaio.AIOBLOCK_MODE_READ, back)
    return [bytes(piece) for piece in back]


def main():
    data = [os.urandom(BLOCK) for _ in range(BLOCKS)]
    fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
    back = {"caio": by_caio, "libaio": by_libaio}[sys.argv[1]](fd, data)
    assert back == data, "it differs"
    with open(sys.argv[2], "rb") as file:
        assert file.read() == b"".join(data), "the file differs"


main()
