<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Symfony\Component\HttpFoundation\HeaderBag;

/**
 * The headers of a request, whose names need no normalizing any more.
 *
 * @internal
 */
final class Headers extends HeaderBag
{
    /** @param array<string, list<string>> $headers by lower-case name */
    public function __construct(array $headers)
    {
        $this->headers = $headers;
        if (isset($headers['cache-control'])) {
            $this->cacheControl = $this->parseCacheControl(\implode(', ', $headers['cache-control']));
        }
    }
}
