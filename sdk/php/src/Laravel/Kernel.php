<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Illuminate\Container\Container;
use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\Response;

/**
 * The way into an application: Laravel's is a kernel, Lumen's the application itself.
 *
 * @internal
 */
interface Kernel
{
    /** Does once what every request would do under php-fpm. */
    public function boot(): void;

    /** @return class-string<Request> */
    public function requestClass(): string;

    public function handle(Container $sandbox, Request $request): Response;

    public function terminate(Container $sandbox, Request $request, Response $response): void;
}
