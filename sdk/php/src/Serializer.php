<?php

declare(strict_types=1);

namespace Edge;

/** Makes bytes of the values of a KV, and values of the bytes. Without one, a KV uses serialize() and unserialize(). */
interface Serializer
{
    public function encode(mixed $value): string;

    /** The value; a ProtocolException when encode() has not made these bytes. */
    public function decode(string $bytes): mixed;
}
