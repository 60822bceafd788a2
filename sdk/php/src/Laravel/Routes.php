<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Illuminate\Http\Request;
use Illuminate\Routing\CompiledRouteCollection;
use Illuminate\Routing\Route;

/**
 * The routes of "artisan route:cache". Laravel makes the object of a route, and compiles it, anew whenever the route is met; here it
 * is made once, and every request gets a clone.
 *
 * @internal
 */
final class Routes extends CompiledRouteCollection
{
    /** @var array<string, Route> */
    private array $kept = [];

    public function match(Request $request)
    {
        $route = parent::match($request);
        $kept = $this->kept[$route->action['as'] ?? ''] ?? null;
        if ($kept !== null && $kept !== $route) {
            $kept->compiled ??= $route->compiled;
        }

        return $route;
    }

    protected function newRoute(array $attributes)
    {
        $name = $attributes['action']['as'] ?? '';
        if ($name === '') {
            return parent::newRoute($attributes);
        }

        return clone ($this->kept[$name] ??= parent::newRoute($attributes));
    }

    /** Laravel matches a copy of the request; without a slash to remove, the request itself will do. */
    protected function requestWithoutTrailingSlash(Request $request)
    {
        $path = \explode('?', (string) $request->server->get('REQUEST_URI'), 2)[0];

        return \str_ends_with($path, '/') ? parent::requestWithoutTrailingSlash($request) : $request;
    }
}
