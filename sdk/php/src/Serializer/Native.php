<?php

declare(strict_types=1);

namespace Edge\Serializer;

use Edge\Exception\ProtocolException;
use Edge\Serializer;

/** serialize() and unserialize(): what a KV does by itself, as a base of others or to allow fewer classes. */
final class Native implements Serializer
{
    /** @param list<class-string>|null $classes those that unserialize() may make objects of; null allows all */
    public function __construct(private readonly ?array $classes = null)
    {
    }

    public function encode(mixed $value): string
    {
        return \serialize($value);
    }

    public function decode(string $bytes): mixed
    {
        $value = @\unserialize($bytes, $this->classes === null ? [] : ['allowed_classes' => $this->classes]);
        if ($value === false && $bytes !== 'b:0;') {
            throw new ProtocolException('the value was not stored by serialize()');
        }

        return $value;
    }
}
