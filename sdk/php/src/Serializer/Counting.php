<?php

declare(strict_types=1);

namespace Edge\Serializer;

use Edge\Serializer;

/** Stores integers as decimal text, so that increment() works on what set() stored, and leaves the rest to another serializer. */
final class Counting implements Serializer
{
    private readonly Serializer $inner;

    public function __construct(?Serializer $inner = null)
    {
        $this->inner = $inner ?? new Native();
    }

    public function encode(mixed $value): string
    {
        return \is_int($value) ? (string) $value : $this->inner->encode($value);
    }

    /** A KV reads integers in decimal text by itself. */
    public function decode(string $bytes): mixed
    {
        return $this->inner->decode($bytes);
    }
}
