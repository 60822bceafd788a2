<?php

declare(strict_types=1);

namespace Edge\Laravel\Events;

use Illuminate\Contracts\Container\Container;
use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\Response;

/** Fired when the client has its response and terminable middleware ran. Listeners forget what Edge does not know of. */
final class RequestTerminated
{
    public function __construct(
        /** The application that booted once. */
        public readonly Container $app,
        public readonly Container $sandbox,
        public readonly Request $request,
        public readonly Response $response,
    ) {
    }
}
