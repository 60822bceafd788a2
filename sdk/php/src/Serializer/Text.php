<?php

declare(strict_types=1);

namespace Edge\Serializer;

use Edge\Serializer;

/** For values that are texts already: they are stored as they are, and what another program stored is read as it is. */
final class Text implements Serializer
{
    public function encode(mixed $value): string
    {
        if (!\is_string($value)) {
            throw new \TypeError('this storage is used for texts, not for ' . \get_debug_type($value));
        }

        return $value;
    }

    public function decode(string $bytes): string
    {
        return $bytes;
    }
}
