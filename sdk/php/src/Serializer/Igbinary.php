<?php

declare(strict_types=1);

namespace Edge\Serializer;

use Edge\Exception\ProtocolException;
use Edge\Serializer;

/** The extension igbinary: smaller than serialize(), above all for arrays of arrays. */
final class Igbinary implements Serializer
{
    public function __construct()
    {
        if (!\extension_loaded('igbinary')) {
            throw new \LogicException('the extension igbinary is missing: apt-get install php-igbinary, or pecl install igbinary');
        }
    }

    public function encode(mixed $value): string
    {
        return \igbinary_serialize($value);
    }

    /** The head of igbinary's format and its null: what igbinary_unserialize() answers for bytes that it cannot read, too. */
    private const NULL = "\0\0\0\x02\0";

    public function decode(string $bytes): mixed
    {
        $value = @\igbinary_unserialize($bytes);
        if (($value === null || $value === false) && $bytes !== self::NULL && $bytes !== "\0\0\0\x02\x04") {
            throw new ProtocolException('the value was not stored by igbinary');
        }

        return $value;
    }
}
