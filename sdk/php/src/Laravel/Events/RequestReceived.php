<?php

declare(strict_types=1);

namespace Edge\Laravel\Events;

use Illuminate\Contracts\Container\Container;
use Illuminate\Http\Request;

/** Fired before a request is handled. Listeners prepare what Edge does not know, in $sandbox, which lives as long as the request. */
final class RequestReceived
{
    public function __construct(
        /** The application that booted once. */
        public readonly Container $app,
        public readonly Container $sandbox,
        public readonly Request $request,
    ) {
    }
}
