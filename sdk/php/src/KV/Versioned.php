<?php

declare(strict_types=1);

namespace Edge\KV;

/** A value as it was at a moment. The version is the same for the same content, for as long as the server runs. */
final class Versioned
{
    /** @internal */
    public function __construct(public readonly mixed $value, public readonly int $version)
    {
    }
}
