@extends('layout')

@section('body')
    <h1>Hello, {{ $name }}</h1>
    <p><a href="{{ route('counter') }}">Counter</a> · <a href="{{ url('/api/products/2') }}">JSON</a> · <a href="{{ url('/stream?pause=300') }}">Stream</a></p>
@endsection
