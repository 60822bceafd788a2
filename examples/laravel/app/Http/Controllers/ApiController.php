<?php

namespace App\Http\Controllers;

use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

class ApiController
{
    public function products(int $page = 1): JsonResponse
    {
        $items = [];
        for ($id = 10 * $page - 9; $id <= 10 * $page; ++$id) {
            $items[] = ['id' => $id, 'name' => "Product $id", 'price_cents' => 1250 * $id, 'in_stock' => $id % 3 !== 0];
        }

        return response()->json(['page' => $page, 'items' => $items]);
    }

    /** What the application sees of a request. */
    public function echo(Request $request): JsonResponse
    {
        return response()->json([
            'method' => $request->method(),
            'url' => $request->fullUrl(),
            'path' => $request->path(),
            'secure' => $request->secure(),
            'ip' => $request->ip(),
            'input' => $request->input(),
            'query' => $request->query(),
            'cookies' => array_keys($request->cookies->all()),
            'type' => $request->header('Content-Type'),
            'custom' => $request->header('X-Custom'),
            'user' => $request->getUser(),
            'facade' => \Illuminate\Support\Facades\Request::path(),
            'helper' => request()->path(),
            'generated' => url('/here'),
        ]);
    }

    /** Changes what a worker must not keep: every answer is the same. */
    public function state(): JsonResponse
    {
        $before = ['locale' => app()->getLocale(), 'name' => config('app.name'), 'shared' => view()->shared('stain', 'none'), 'bound' => app()->bound('stain')];
        app()->setLocale('fr');
        config(['app.name' => 'changed']);
        view()->share('stain', 'shared');
        app()->instance('stain', 'bound');
        cookie()->queue('stain', 'queued');

        return response()->json($before);
    }

    public function validated(Request $request): JsonResponse
    {
        return response()->json($request->validate(['email' => 'required|email', 'age' => 'integer|min:18']));
    }

    public function broken(): never
    {
        throw new \DomainException('the controller broke');
    }
}
