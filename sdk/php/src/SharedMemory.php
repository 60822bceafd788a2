<?php

declare(strict_types=1);

namespace Edge;

/**
 * Memory that a worker has in common with the server: a file without a name, cut into slots. A body that is written there does not
 * go through a pipe, which costs four times as much. The server names a free slot with every request.
 *
 * @internal
 */
final class SharedMemory
{
    /** From this size on, the body of an answer is worth the calls. */
    public const FROM = 8 << 10;

    /** What the server calls the file. */
    private const NAME = '/memfd:edge-answers (deleted)';

    /** What mmap says in place of an address when it fails. */
    private const MAP_FAILED = -1;

    /**
     * @param resource          $file
     * @param int               $size  what fits into a slot
     * @param array<int, \FFI\CData> $slots where they are in memory, by their numbers; none where PHP may not look into memory
     */
    private function __construct(private $file, private readonly int $size, private readonly array $slots)
    {
    }

    /** The memory of this worker; null where the server offers none, or where a wrapper around this process has closed the file. */
    public static function ofWorker(): ?self
    {
        [$fd, $slots, $size] = \array_map(intval(...), \explode(':', \getenv('EDGE_SHARED') ?: '0:0:0'));
        if ($size === 0 || @\readlink("/proc/self/fd/$fd") !== self::NAME) {
            return null;
        }
        $file = @\fopen("php://fd/$fd", 'w');
        if ($file === false || (\fstat($file)['size'] ?? 0) !== $slots * $size) {
            return null;
        }

        return new self($file, $size, self::map($fd, $slots, $size));
    }

    /**
     * The file in this process' memory, with PHP's FFI extension: a body is then copied at once, without the kernel's work page by page.
     *
     * @return array<int, \FFI\CData>
     */
    private static function map(int $fd, int $slots, int $size): array
    {
        if (!\class_exists(\FFI::class, false)) {
            return [];
        }
        try {
            $libc = \FFI::cdef('void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset);');
            $memory = $libc->mmap(null, $slots * $size, 3 /* read, write */, 1 /* shared */, $fd, 0);
            if ($memory === null || $libc->cast('intptr_t', $memory)->cdata === self::MAP_FAILED) {
                return [];
            }
            $bytes = $libc->cast('char *', $memory);

            return \array_map(static fn (int $slot): \FFI\CData => $bytes + ($slot - 1) * $size, \array_combine($all = \range(1, $slots), $all));
        } catch (\FFI\Exception) { // ffi.enable says no
            return [];
        }
    }

    /** Puts the body into the slot; false when it is too large for it. */
    public function put(int $slot, string $body): bool
    {
        $length = \strlen($body);
        $place = $this->slots[$slot] ?? null;
        if ($place !== null && $length <= $this->size) {
            \FFI::memcpy($place, $body, $length);

            return true;
        }

        return $length <= $this->size && \fseek($this->file, ($slot - 1) * $this->size) === 0 && \fwrite($this->file, $body) === $length;
    }
}
